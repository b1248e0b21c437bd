"""Each role reaches only its own addresses, over HTTP and over the websocket."""

import pytest
from channels.db import database_sync_to_async

from conversations.access.middleware import AccessMiddleware
from conversations.catalogue.models import ChatModel
from conversations.chat.routing import websocket_urlpatterns
from tests.guards.addresses import ADDRESSES, OPEN
from tests.guards.roles import client_of
from tests.page import Page

# The example objects don't exist, so a page that was reached may also respond with 404 or 405.
REACHED = {200, 204, 404, 405}
STAFF_OWN = {"index", "jsi18n", "password_change", "password_change_done"}
"""Admin pages that all staff can see."""
SEEN_IN_ADMIN = {
    "staff": STAFF_OWN,
    "reviewer": STAFF_OWN | {"app_list", "review_reviewcase_changelist", "review_report_changelist"},
    "lead": STAFF_OWN
    | {
        "app_list",
        "review_reviewcase_changelist",
        "review_report_changelist",
        "review_reviewevent_changelist",
        "review_figures",
    },
}
OF_PENDING = {"report", "report_appeal", "report_reply", "reports", "accept_terms"}
"""Pages for people awaiting approval, about what they did before."""

IN_ADMIN = [(name, address) for name, address in ADDRESSES if address.startswith("/admin/")]
ELSEWHERE = [pair for pair in ADDRESSES if pair not in IN_ADMIN and pair[0] not in OPEN | {"account_logout"}]


@pytest.fixture(autouse=True)
def _model(model: ChatModel) -> None:
    pass


def test_all_pages_and_websockets_are_covered() -> None:
    assert len(IN_ADMIN) > 50
    assert {"chat", "conversation", "send", "report", "account", "mfa_index"} <= {n for n, _a in ELSEWHERE}
    assert [str(route.pattern) for route in websocket_urlpatterns] == ["ws/chat/"]


@pytest.mark.parametrize("role", ["anonymous", "guest", "pending", "member", "preview", "expired"])
@pytest.mark.django_db
def test_only_staff_reach_the_admin(role: str) -> None:
    client = client_of(role)
    for name, address in IN_ADMIN:
        for response in (client.get(address), client.post(address)):
            assert response.status_code in {302, 403}, (name, response.status_code)


@pytest.mark.parametrize("role", ["staff", "reviewer", "lead"])
@pytest.mark.django_db
def test_staff_see_what_their_permissions_allow(role: str) -> None:
    client = client_of(role)
    seen = {name for name, address in IN_ADMIN if client.get(address).status_code == 200}
    assert seen - {"login", "logout"} == SEEN_IN_ADMIN[role]


@pytest.mark.django_db
def test_administrators_see_everything() -> None:
    client = client_of("root")
    for name, address in IN_ADMIN:
        if name in {"logout", "login"} or "add" in name or "delete" in name:
            continue
        assert client.get(address).status_code in {*REACHED, 302, 403}, name
    assert {name for name, address in IN_ADMIN if client.get(address).status_code == 200} > SEEN_IN_ADMIN[
        "lead"
    ]


@pytest.mark.parametrize("role", ["anonymous", "guest", "pending", "member", "preview", "expired", "staff"])
@pytest.mark.django_db
def test_only_people_with_access_reach_the_other_pages(role: str) -> None:
    client = client_of(role)
    for name, address in ELSEWHERE:
        response = client.get(address)
        view = response.resolver_match.func.__module__
        is_account_page = view.startswith(AccessMiddleware.ACCOUNT_PAGES)
        told = (role, name, response.status_code, response.headers.get("Location", ""))
        if role == "anonymous" or (role == "guest" and is_account_page):
            # Sign-in can also redirect to another step of signing in.
            assert response.status_code == 302, told
            assert response["Location"].startswith("/accounts/"), told
        elif is_account_page:
            assert response.status_code in {*REACHED, 302, 403}, told
        elif role == "pending" and name not in OF_PENDING:
            assert response.status_code == 403, told
            assert "awaiting approval" in response.text
        else:
            assert response.status_code in REACHED, told


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("service")
@pytest.mark.parametrize(
    ("role", "code"),
    [
        ("anonymous", 4401),
        ("pending", 4423),
        ("expired", 4423),
        ("guest", 0),
        ("preview", 0),
        ("member", 0),
        ("staff", 0),
    ],
)
async def test_only_people_who_can_write_can_open_the_websocket(role: str, code: int) -> None:
    page = Page(await database_sync_to_async(client_of)(role))
    await page.open()
    if code:
        assert await page.closed() == code
    else:
        await page.attach("00000000-0000-0000-0000-000000000001")
        await page.until("Conversation not found")
        await page.close()
