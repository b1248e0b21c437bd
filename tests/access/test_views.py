"""Test access over HTTP and sockets: sign-up modes, invitations, guests, approval, the terms, and the admin."""

import asyncio
import datetime as dt
import html
import re
import uuid
from typing import Any

import pytest
from channels.db import database_sync_to_async
from django.conf import LazySettings
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from conversations.access import selectors as access
from conversations.access.models import Invitation, Membership, Preview, SiteAccess, TermsAcceptance
from conversations.access.services import invitations, terms
from conversations.access.services.approvals import approve
from conversations.accounts.models import User
from conversations.catalogue.models import ChatModel
from conversations.chat.models import Conversation, Generation
from conversations.review.models import ReviewEvent
from tests.factories import make_answer, make_invitation, make_member, make_pending, make_preview, make_staff
from tests.fakes import RunningUpstream
from tests.guards.roles import client_of
from tests.page import Page, signed_in

PASSWORD = "correct horse battery"
SIGN_UP = {"username": "bob", "password1": PASSWORD, "password2": PASSWORD}


@pytest.fixture(autouse=True)
def _model(model: ChatModel) -> None:
    pass


def sign_up(client: Client, **values: str) -> Any:
    return client.post("/accounts/signup/", {**SIGN_UP, **values})


# --- Sign-up ---


@pytest.mark.parametrize(
    ("mode", "account_type"),
    [("open", "member"), ("approval", "pending"), ("invitation", ""), ("closed", "")],
)
def test_the_four_sign_up_modes(settings: LazySettings, mode: str, account_type: str) -> None:
    settings.SIGNUP = mode
    client = Client()
    sign_up(client)
    bob = User.objects.filter(username="bob").first()
    assert (bob.account_type if bob else "") == account_type
    login = Client().get("/accounts/login/").text
    assert ("/accounts/signup/" in login) == (mode in {"open", "approval"})
    assert ("/join/" in login) == (mode == "invitation")


@pytest.mark.parametrize("mode", ["approval", "invitation"])
def test_an_invitation_works_in_every_mode_but_closed(settings: LazySettings, mode: str) -> None:
    settings.SIGNUP = mode
    invitation = make_invitation(make_preview())
    client = Client()
    refused = client.post("/join/", {"code": "nonsense"})
    assert (refused.status_code, "Invitation code not found" in refused.text) == (422, True)
    there = client.post("/join/", {"code": invitation.shown_code.lower()})
    page = client.get(there["Location"])
    assert "Spring" in page.text
    sign_up(client)
    bob = User.objects.get(username="bob")
    assert bob.account_type == "preview"
    assert Membership.objects.get().invitation == invitation
    assert client.get("/").status_code == 200


def test_closed_sign_up_refuses_invitations_too(settings: LazySettings) -> None:
    settings.SIGNUP = "closed"
    client = Client()
    client.get(reverse("join_by_link", args=[make_invitation(make_preview()).code]))
    sign_up(client)
    assert not User.objects.filter(username="bob").exists()


def test_no_account_is_created_if_the_code_has_become_unusable(settings: LazySettings) -> None:
    settings.SIGNUP = "invitation"
    invitation = make_invitation(make_preview(email_domains="example.org"))
    client = Client()
    client.get(reverse("join_by_link", args=[invitation.code]))
    assert sign_up(client, email="bob@evil.example")["Location"] == "/join/"
    assert not User.objects.filter(username="bob").exists()
    assert "eligible for this preview" in client.get("/join/").text
    Invitation.objects.update(uses=1)
    sign_up(client, email="bob@example.org")
    assert not User.objects.filter(username="bob").exists()


def test_a_signed_in_user_joins_with_one_button(alice: User) -> None:
    User.objects.update(account_type="pending")
    invitation = make_invitation(make_preview())
    hers = signed_in(alice)
    url = reverse("join_by_link", args=[invitation.code])
    assert "Join as alice" in hers.get(url).text
    assert not Membership.objects.exists()
    assert hers.post(url)["Location"] == "/"
    assert Membership.objects.get().user == alice


def test_attempts_at_codes_are_limited() -> None:
    client = Client()
    for number in range(30):
        tried = client.post("/join/", {"code": f"WRONG{number}"}, REMOTE_ADDR="192.0.2.7")
        assert "Invitation code not found" in tried.text
    assert "Too many incorrect codes" in client.post("/join/", {"code": "X"}, REMOTE_ADDR="192.0.2.7").text
    assert (
        "Too many incorrect codes" not in client.post("/join/", {"code": "X"}, REMOTE_ADDR="192.0.2.8").text
    )
    # A forged header doesn't bypass the limit.
    forged = client.post("/join/", {"code": "X"}, REMOTE_ADDR="192.0.2.7", HTTP_X_FORWARDED_FOR="192.0.2.9")
    assert "Too many incorrect codes" in forged.text


# --- Guests ---


@pytest.fixture
def guest() -> Client:
    preview = make_preview(allows_guests=True, guest_messages=1)
    client = Client()
    url = reverse("preview", args=[preview.uuid])
    assert "Continue as a guest" in client.get(url).text
    assert client.post(url)["Location"] == "/"
    return client


def say(client: Client, text: str = "Hello") -> Any:
    return client.post("/send/", {"text": text, "client_id": str(uuid.uuid4())})


def end_all() -> None:
    Generation.objects.update(status="complete", ended_at=timezone.now())


def test_a_guest_who_signs_up_keeps_their_conversations(guest: Client, settings: LazySettings) -> None:
    assert say(guest).status_code == 302
    end_all()
    wall = say(guest, "My next thought")
    assert wall.status_code == 422
    assert "Sign up or sign in to continue" in wall.text
    assert ">My next thought</textarea>" in wall.text
    old = User.objects.get(account_type="guest")
    assert guest.get("/accounts/signup/").status_code == 200
    assert guest.get("/accounts/login/").status_code == 200
    sign_up(guest)
    bob = User.objects.get(username="bob")
    assert Conversation.objects.visible_to(bob).count() == 1
    assert not User.objects.filter(pk=old.pk).exists()
    page = guest.get("/").text
    assert f'data-guest-id="{old.uuid}"' in page
    assert f'data-guest-id="{old.uuid}"' not in guest.get("/").text


@pytest.mark.parametrize(
    ("mode", "offers"),
    [
        ("open", {"/accounts/signup/", "/join/", "/accounts/login/"}),
        ("approval", {"/accounts/signup/", "/join/", "/accounts/login/"}),
        ("invitation", {"/join/", "/accounts/login/"}),
        ("closed", {"/accounts/login/"}),
    ],
)
def test_the_wall_and_the_pages_before_it_offer_only_what_there_is(
    guest: Client, settings: LazySettings, mode: str, offers: set[str]
) -> None:
    settings.SIGNUP = mode
    say(guest)
    end_all()
    page = say(guest).text
    banner = page[page.index('id="use"') : page.index('class="connection"')]
    assert {link.partition("?")[0] for link in re.findall(r'href="([^"]+)"', banner)} == offers
    assert ("sign up" in page.lower()) == ("/accounts/signup/" in offers)
    assert "Your conversations will be kept" in banner
    preview = Client().get(reverse("preview", args=[Preview.objects.get().uuid])).text
    assert ("/join/" in preview) == ("/join/" in offers)
    assert ("sign up" in preview) == (mode != "closed")
    invitation = Client().get(reverse("join_by_link", args=[make_invitation(None).code])).text
    assert ("/accounts/signup/" in invitation) == (mode != "closed")
    assert ("create an account" in invitation) == (mode != "closed")


def test_a_guest_who_signs_in_keeps_their_conversations(guest: Client, alice: User, charlie: User) -> None:
    say(guest)
    guest.post("/accounts/login/", {"login": "alice", "password": PASSWORD})
    assert Conversation.objects.visible_to(alice).count() == 1
    guest.post("/accounts/logout/")
    guest.post("/accounts/login/", {"login": "charlie", "password": PASSWORD})
    assert not Conversation.objects.visible_to(charlie).exists()


def test_a_guest_is_addressed_as_one_and_has_a_short_name_for_staff(
    guest: Client, admin_client: Client
) -> None:
    found = User.objects.get(account_type="guest")
    assert re.fullmatch(r"guest-[A-Z2-9]{10}", found.username)
    page = guest.get("/").text
    assert '<span class="user-button__name">Guest</span>' in page
    assert found.username not in page
    assert found.username in admin_client.get("/admin/accounts/user/").text


@pytest.fixture
def walled(guest: Client) -> tuple[Client, str]:
    """Return a guest who has accepted the terms and used their messages, and the address of their conversation."""
    terms.ensure_terms(now=timezone.now())
    guest.post("/terms/", {"version": "1"})
    here = say(guest)["Location"]
    end_all()
    return guest, here


def follow(client: Client, address: str, link: str) -> Any:
    """Follow the link to an address, as it is on the page at another address."""
    found = re.search(rf'href="({link}[^"]*)"', client.get(address).text)
    assert found
    return html.unescape(found[1])


@pytest.mark.parametrize("way", ["sign up", "sign in", "sign in instead of up", "invitation"])
def test_a_guest_with_an_account_is_back_in_the_conversation_without_accepting_the_terms_again(
    walled: tuple[Client, str], alice: User, way: str
) -> None:
    client, here = walled
    old = User.objects.get(account_type="guest")
    if way == "sign up":
        there = follow(client, here, "/accounts/signup/")
    elif way == "invitation":
        there = follow(client, here, "/join/")
        code = make_invitation(None).code
        there = client.post(there, {"code": code})["Location"]
        there = follow(client, there, "/accounts/signup/")
    elif way == "sign in":
        there = follow(client, here, "/accounts/login/")
    else:
        there = follow(client, follow(client, here, "/accounts/signup/"), "/accounts/login/")
    form = SIGN_UP if "signup" in there else {"login": "alice", "password": PASSWORD}
    response = client.post(there, form)
    assert response["Location"] == here
    page = client.get(here)
    assert (page.status_code, f'data-guest-id="{old.uuid}"' in page.text) == (200, True)
    assert TermsAcceptance.objects.get().user.account_type == "member"


def test_a_guest_may_have_accepted_terms_that_their_account_had_accepted(
    walled: tuple[Client, str], alice: User
) -> None:
    terms.accept_terms(user=alice, version=1, now=timezone.now())
    walled[0].post("/accounts/login/", {"login": "alice", "password": PASSWORD})
    assert TermsAcceptance.objects.get().user == alice


async def test_the_banner_over_the_socket_leads_back_to_the_conversation(guest: Client, service: Any) -> None:
    tab = Page(guest)
    assert await tab.open()
    await tab.say("Hello")
    frames = await tab.until("Sign up or sign in to continue")
    conversation = await Conversation.objects.aget()
    assert f"/accounts/signup/?next=/c/{conversation.uuid}/" in frames
    await tab.close()


@pytest.mark.parametrize("page", ["https://evil.example/", "//evil.example/", "javascript:alert(1)"])
def test_nobody_is_led_to_another_site(alice: User, page: str) -> None:
    terms.ensure_terms(now=timezone.now())
    client = signed_in(alice)
    assert client.post("/terms/", {"version": "1", "next": page})["Location"] == "/"
    address = reverse("join_by_link", args=[make_invitation(None).code])
    assert client.post(address, {"next": page})["Location"] == "/"
    assert "next=" not in Client().get(address, {"next": page}).text


def test_guests_cannot_open_account_pages(guest: Client) -> None:
    response = guest.get("/accounts/password/change/")
    assert response.status_code == 302
    assert "/accounts/login/" in response["Location"]
    assert guest.get("/admin/").status_code == 302


def test_a_preview_closed_to_guests_is_not_found(alice: User) -> None:
    now = timezone.now()
    for values in ({}, {"allows_guests": True, "ends_at": now}, {"allows_guests": True, "is_enabled": False}):
        preview = make_preview(**values)
        assert Client().get(reverse("preview", args=[preview.uuid])).status_code == 404
        assert Client().post(reverse("preview", args=[preview.uuid])).status_code == 404


@pytest.mark.parametrize(
    ("per_day", "says"), [(3, "· 5 messages left · 3 left today"), (9, "· 5 messages left")]
)
def test_the_banner_separates_what_is_left_and_leaves_out_what_is_implied(per_day: int, says: str) -> None:
    member = make_member(make_preview(messages_total=5, messages_per_day=per_day))
    page = signed_in(member).get("/").text
    banner = re.sub(r"<[^>]+>|\s+", " ", page[page.index('id="use"') : page.index('class="connection"')])
    assert says in re.sub(" +", " ", banner)
    assert ("today" in banner) == ("today" in says)


# --- Approval, the terms, the end of a preview ---


def test_pending_users_see_that_they_await_approval() -> None:
    person = make_pending("pat", email="pat@example.org")
    client = signed_in(person)
    page = client.get("/")
    assert (page.status_code, "awaiting approval" in page.text) == (403, True)
    assert say(client).status_code == 403
    approve(user=person)
    assert client.get("/").status_code == 200


def test_each_version_of_the_terms_is_accepted_once(alice: User) -> None:
    terms.ensure_terms(now=timezone.now())
    hers = signed_in(alice)
    assert "Before you begin" in hers.get("/").text
    for wrong in ("", "x", "99"):
        assert hers.post("/terms/", {"version": wrong}).status_code == 404
    assert hers.post("/terms/", {"version": "1"})["Location"] == "/"
    assert "Before you begin" not in hers.get("/").text
    terms.publish_terms(text="**Other** words <script>x</script>", now=timezone.now())
    page = hers.get("/?from=elsewhere").text
    assert 'name="next" value="/?from=elsewhere"' in page
    assert "<strong>Other</strong>" in page
    assert "<script>x" not in page
    assert TermsAcceptance.objects.count() == 1
    accepted = hers.post("/terms/", {"version": "2", "next": "/?from=elsewhere"})
    assert accepted["Location"] == "/?from=elsewhere"


def test_people_can_read_and_export_after_a_preview_ends() -> None:
    preview = make_preview(name="Spring <preview>")
    person = make_member(preview)
    told = make_answer(person, "The answer.")
    client = signed_in(person)
    assert "Spring &lt;preview&gt;" in client.get("/").text
    Preview.objects.update(ends_at=timezone.now() - dt.timedelta(seconds=1))
    page = client.get(reverse("conversation", args=[told.conversation.uuid])).text
    assert "You can still read and export" in page
    assert "The answer." in page
    assert "hx-ws:connect" not in page
    exported = client.get(reverse("conversation_export", args=[told.conversation.uuid]))
    assert exported["Content-Type"].startswith("text/markdown")
    assert "The answer." in exported.text
    assert say(client).status_code == 422


def test_search_engines_may_index_production_only(settings: LazySettings) -> None:
    settings.IS_PRODUCTION = False
    assert Client().get("/robots.txt").text.endswith("Disallow: /\n")
    assert Client().get("/accounts/login/")["X-Robots-Tag"] == "noindex, nofollow"
    settings.IS_PRODUCTION = True
    assert "Allow: /accounts/login/" in Client().get("/robots.txt").text
    assert "X-Robots-Tag" not in Client().get("/accounts/login/")


def test_staging_is_marked_on_every_page(settings: LazySettings) -> None:
    settings.IS_PRODUCTION, settings.ENVIRONMENT = False, "staging"
    assert "Staging" in Client().get("/accounts/login/").text
    root = signed_in(User.objects.create_superuser("root", password=PASSWORD))
    assert "Chat administration · Staging" in root.get("/admin/").text
    settings.ENVIRONMENT = "development"
    assert "Staging" not in root.get("/admin/").text


# --- Admin ---


def test_staff_create_invitations_and_see_who_used_them(alice: User) -> None:
    host = make_staff("host", "view_preview", "add_invitation", "view_invitation", "change_invitation")
    client = signed_in(host)
    preview = make_preview()
    url = reverse("admin:access_preview_invite", args=[preview.pk])
    values = {"count": "3", "uses_allowed": "2", "label": "=cmd()", "expires_at_0": "", "expires_at_1": ""}
    refused = client.post(url, {**values, "emails": "not an address"})
    assert (refused.status_code, Invitation.objects.count()) == (422, 0)
    page = client.post(url, values, follow=True)
    made = list(Invitation.objects.order_by("pk"))
    assert len(made) == 3
    assert all(invitation.shown_code in page.text for invitation in made)
    invitations.redeem(user=alice, code=made[0].code, now=timezone.now())
    listed = reverse("admin:access_invitation_changelist")
    chosen = {"_selected_action": [invitation.pk for invitation in made]}
    exported = client.post(listed, {"action": "export", **chosen})
    table = b"".join(exported).decode()
    assert "'=cmd()" in table
    assert "alice" in table
    sheet = client.post(listed, {"action": "print_sheet", **chosen}).text
    assert made[1].shown_code in sheet
    client.post(listed, {"action": "revoke_and_end", **chosen})
    assert Membership.objects.get().ended_at is not None
    nobody = signed_in(make_staff("nobody", "view_preview"))
    assert nobody.get(url).status_code == 403
    assert nobody.get(listed).status_code == 403


def test_looking_up_a_pseudonymous_id_is_logged(alice: User) -> None:
    from conversations.chat.generation.pseudonymous_id import pseudonymous_id

    client = signed_in(make_staff("tracer", "trace_pseudonymous_id", "view_user"))
    url = reverse("admin:accounts_user_trace")
    values = {"identifier": pseudonymous_id(alice), "reason": "Abuse."}
    assert "alice" in client.post(url, values).text
    [event] = ReviewEvent.objects.all()
    assert (event.kind, event.text, event.details["found"]) == ("traced", "Abuse.", str(alice.uuid))
    assert signed_in(make_staff("nobody", "view_user")).post(url, values).status_code == 403


def test_the_sign_up_mode_is_set_in_the_admin(db: None) -> None:
    root = User.objects.create_superuser("root", password=PASSWORD)
    client = signed_in(root)
    url = client.get(reverse("admin:access_siteaccess_changelist"))["Location"]
    client.post(url, {"signup": "closed"})
    assert SiteAccess.objects.get().signup == "closed"
    assert access.signup_mode() == "closed"


# --- Sockets ---


@pytest.mark.django_db(transaction=True)
async def test_a_running_answer_stops_when_its_preview_ends(
    model: ChatModel, service: Any, upstream: RunningUpstream
) -> None:
    preview = await database_sync_to_async(make_preview)(messages_total=5)
    person = await database_sync_to_async(make_member)(preview)
    page = Page(await database_sync_to_async(signed_in)(person))
    assert await page.open()
    upstream.answer_with("Some text. ", upstream.hold(), "never")
    await page.say("Go")
    frames = await page.until("Some text")
    assert re.search(r'hx-target="#use".*?4 messages left', frames, re.DOTALL)
    await Preview.objects.aupdate(ends_at=timezone.now())
    assert await page.closed() == 4423
    async with asyncio.timeout(10):
        while (generation := await Generation.objects.select_related("message").aget()).is_active:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert (generation.status, generation.message.text) == ("stopped", "Some text. ")
    again = Page(await database_sync_to_async(signed_in)(person))
    await again.open()
    assert await again.closed() == 4423


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("role", ["member", "preview", "guest"])
async def test_providers_receive_only_pseudonymous_ids(
    model: ChatModel, service: Any, upstream: RunningUpstream, settings: LazySettings, role: str
) -> None:
    client = await database_sync_to_async(client_of)(role)
    user = await User.objects.aget(account_type=role)
    page = Page(client)
    assert await page.open()
    conversation: Conversation | None = None
    for keys in ({}, {}, {"k2": "another secret, as long"}):
        settings.END_USER_ID_KEYS = keys
        await page.say("Hello", conversation)
        await page.until("The answer is complete")
        conversation = await Conversation.objects.aget()
    bodies = [request.body for request in upstream.requests]
    ids = [body["safety_identifier"] for body in bodies]
    assert ids == [body["user"] for body in bodies]
    # The ID stays the same for a person until the key changes.
    assert ids[0] == ids[1] != ids[2]
    for secret in (user.username, str(user.uuid), user.uuid.hex, user.email or "@example.org"):
        assert secret not in str(bodies)
    await page.close()


@pytest.mark.django_db(transaction=True)
async def test_providers_that_reject_user_ids_receive_none(tab: Page, upstream: RunningUpstream) -> None:
    await ChatModel.objects.aupdate(sends_pseudonymous_id=False)
    await tab.say("Hello")
    await tab.until("The answer is complete")
    assert not {"user", "safety_identifier"} & set(upstream.requests[0].body)
