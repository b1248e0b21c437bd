"""The name and logo of the site are set in Django admin, and shown on pages."""

import re
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from conversations.accounts.models import User
from conversations.branding.models import Branding, Logo
from conversations.branding.rules import MAX_LOGO_BYTES
from conversations.branding.selectors import current_branding
from conversations.catalogue.models import ChatModel
from tests.factories import make_answer
from tests.page import signed_in

from .images import JPEG, PNG, SVG, make_png

ADMIN_PAGE = "/admin/branding/branding/1/change/"

pytestmark = pytest.mark.django_db


def save(client: Client, **values: Any) -> Any:
    """Send the form of the admin page. Without `name`, the name is kept."""
    client.get("/admin/branding/branding/")
    form = {"name": current_branding().name, "logo_alt": "", "shows_name": "on", **values}
    files = {
        name: SimpleUploadedFile("logo.png", value) if isinstance(value, bytes) else value
        for name, value in form.items()
        if value is not None
    }
    return client.post(ADMIN_PAGE, files)


def title_of(page: str) -> str:
    found = re.search(r"<title>(.*?)</title>", page, re.DOTALL)
    assert found
    return " ".join(found[1].split())


# --- The name ---


def test_without_a_name_pages_say_chat(client: Client) -> None:
    page = client.get("/accounts/login/").text
    assert title_of(page) == "Sign in · Chat"
    assert '<bdi class="brand__name">Chat</bdi>' in page
    assert "brand__mark" in page


def test_the_name_is_on_every_page(admin_client: Client, alice: User, model: ChatModel) -> None:
    assert save(admin_client, name="Acme & Söhne").status_code == 302
    answer = make_answer(alice)
    titles = {
        "/": "Acme &amp; Söhne",
        f"/c/{answer.conversation.uuid}/": f"{answer.conversation.title} · Acme &amp; Söhne",
        "/account/": "Your account · Acme &amp; Söhne",
        "/reports/": "My reports · Acme &amp; Söhne",
    }
    hers = signed_in(alice)
    for address, title in titles.items():
        page = hers.get(address).text
        assert title_of(page) == title
        assert '<bdi class="brand__name">Acme &amp; Söhne</bdi>' in page
    assert 'data-title-pattern="{title} · Acme &amp; Söhne"' in hers.get("/").text
    assert title_of(Client().get("/accounts/signup/").text) == "Sign up · Acme &amp; Söhne"
    admin_page = admin_client.get("/admin/").text
    assert title_of(admin_page).endswith("· Acme &amp; Söhne administration")
    assert admin_page.count("Acme &amp; Söhne administration") == 2


@pytest.mark.parametrize(
    ("address", "title"), [("/nothing/", "Page not found"), ("/?a=%00", "Invalid request")]
)
def test_error_pages_read_no_name(
    client: Client, address: str, title: str, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(0):
        assert title_of(client.get(address).text) == title


@pytest.mark.parametrize("name", ["two\nlines", "hid\u202eden", "tab\t"])
def test_a_name_is_visible_text_on_one_line(admin_client: Client, name: str) -> None:
    with pytest.raises(ValidationError):
        Branding(pk=1, name=name).full_clean()


def test_a_change_applies_at_once_and_costs_one_query(
    client: Client, admin_client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    save(admin_client, name="Acme", logo_file=PNG, dark_logo_file=JPEG)
    with django_assert_num_queries(1) as queries:
        branding = current_branding()
        assert branding.logo is not None
        assert branding.dark_logo is not None
        assert (branding.name, branding.logo.width, branding.dark_logo.height) == ("Acme", 3, 2)
    assert '"data"' not in queries.captured_queries[0]["sql"]
    # As another process would.
    Branding.objects.update(name="Other")
    assert title_of(client.get("/accounts/login/").text) == "Sign in · Other"


# --- Logos ---


def test_a_logo_is_shown_served_and_cached(
    admin_client: Client,
    alice: User,
    client: Client,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    assert save(admin_client, name="Acme", logo_file=make_png(30, 30)).status_code == 302
    logo = Logo.objects.get()
    page = client.get("/accounts/login/").text
    assert f'src="/logo/{logo.digest}/"' in page
    assert 'alt=""' in page
    assert "brand__mark" not in page
    # A square logo is the icon of the page too.
    assert f'<link rel="icon" href="/logo/{logo.digest}/" type="image/png">' in page
    assert f'src="/logo/{logo.digest}/"' in admin_client.get("/admin/").text
    hers = signed_in(alice)
    with django_assert_num_queries(1):
        response = hers.get(logo.url)
    assert response.content == make_png(30, 30)
    assert response["Content-Type"] == "image/png"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Cache-Control"] == "public, max-age=31536000, immutable"
    assert "Cookie" not in response.get("Vary", "")
    assert client.get(f"/logo/{'0' * 64}/").status_code == 404


def test_a_wide_logo_can_stand_for_the_name(admin_client: Client, client: Client) -> None:
    save(admin_client, name="Acme", logo_file=make_png(120, 30), shows_name=None)
    page = client.get("/accounts/login/").text
    assert 'alt="Acme"' in page
    assert "brand__name" not in page
    assert "common/icon.svg" in page
    save(admin_client, logo_alt="Acme, the helpful assistant", shows_name=None)
    assert 'alt="Acme, the helpful assistant"' in client.get("/accounts/login/").text


def test_dark_backgrounds_can_have_another_logo(admin_client: Client, client: Client) -> None:
    save(admin_client, logo_file=PNG, dark_logo_file=JPEG)
    page = client.get("/accounts/login/").text
    assert re.findall(r"brand__logo--(\w+)", page) == ["light", "dark"]
    dark = Logo.objects.get(content_type="image/jpeg")
    header = admin_client.get("/admin/").text.split('id="site-name"')[1]
    assert f'src="{dark.url}"' in header.split("</div>")[0]


def test_replacing_and_removing_logos(admin_client: Client) -> None:
    save(admin_client, logo_file=PNG, dark_logo_file=PNG)
    assert Logo.objects.count() == 1
    save(admin_client, name="Acme")
    assert current_branding().logo is not None
    save(admin_client, logo_file=JPEG)
    assert set(Logo.objects.values_list("content_type", flat=True)) == {"image/jpeg", "image/png"}
    save(admin_client, **{"logo_file-clear": "on", "dark_logo_file-clear": "on"})
    assert Logo.objects.count() == 0
    assert (current_branding().logo, current_branding().name) == (None, "Acme")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (SVG, "Upload a PNG, JPEG or WebP image."),
        (PNG + SVG, "Upload a PNG, JPEG or WebP image."),
        (make_png(2001, 1), "The image is too large: 2001 × 1 pixels."),
        (bytes(MAX_LOGO_BYTES + 1), "The file is too large: 100.0\xa0KB of 100.0\xa0KB."),
    ],
)
def test_unsafe_and_large_files_are_refused(admin_client: Client, data: bytes, problem: str) -> None:
    response = save(admin_client, logo_file=data)
    assert response.status_code == 200
    assert problem in response.text
    assert Logo.objects.count() == 0


def test_only_administrators_change_the_branding(alice: User) -> None:
    assert signed_in(alice).post(ADMIN_PAGE, {"name": "Mine"}).status_code == 302
    alice.is_staff = True
    alice.save()
    assert signed_in(alice).post(ADMIN_PAGE, {"name": "Mine"}).status_code == 403
    assert current_branding().name == ""
