"""Test accounts in the browser: emailed codes (read from the site's output), an app, passkeys, other providers."""

import re
import time
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.accounts.fake_provider import FakeProvider, running_provider
from tests.accounts.helpers import totp_code
from tests.browser.axe import check
from tests.browser.conftest import begin, sign_up
from tests.fakes import RunningUpstream
from tests.site import PASSWORD, Site

CODE = re.compile(r"^([A-Z]{4}-[A-Z]{4})$", re.MULTILINE)


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with running_provider() as running:
        yield running


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, _upstream: RunningUpstream, provider: FakeProvider
) -> Iterator[Site]:
    """Start a site with another sign-in provider."""
    started = Site(
        tmp_path_factory.mktemp("site") / "data",
        OPENAI_BASE_URL=_upstream.base_url,
        EMAIL_URL="console:",
        LOGIN_RATE_LIMIT="1000/m/ip",
        LOGIN_FAILED_RATE_LIMIT="1000/m/ip",
        SIGNUP_RATE_LIMIT="1000/m/ip",
        OIDC_NAME="House",
        OIDC_SERVER_URL=provider.address,
        OIDC_CLIENT_ID="id",
        OIDC_CLIENT_SECRET="secret",
    ).start()
    yield started
    started.web.end()


def mailed_code(site: Site, before: str) -> str:
    """Return the code in what the site has written after `before`."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if found := CODE.search(site.web.output[len(before) :]):
            return found.group(1)
        time.sleep(0.05)
    raise TimeoutError(site.web.output[len(before) :])


def give_address(page: Page, name: str) -> str:
    """Add an unverified email address to the account, and return it."""
    address = f"{name}@example.org"
    open_account(page, "Email address")
    page.get_by_label("New email address").fill(address)
    page.get_by_role("button", name="Change address").click()
    show_password_again(page)
    expect(
        page.get_by_text("A verification link has been sent to you").or_(page.get_by_text(address)).first
    ).to_be_visible()
    return address


def open_account(page: Page, row: str) -> None:
    page.goto("/account/")
    page.get_by_role("link", name=row).click()


def show_password_again(page: Page) -> None:
    expect(page.get_by_role("heading", name="Confirm it's you")).to_be_visible()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Continue", exact=True).click()


def log_out(page: Page) -> None:
    page.goto("/accounts/logout/")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def log_in(page: Page, name: str) -> None:
    page.goto("/accounts/login/")
    page.get_by_label("Username or email").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def add_app(page: Page) -> str:
    """Set up an authenticator app, and return its key."""
    open_account(page, "Passkeys and two-step verification")
    page.get_by_role("link", name="Authenticator app").click()
    show_password_again(page)
    key = page.locator(".key").inner_text()
    page.get_by_label("Code").fill(totp_code(key))
    page.get_by_role("button", name="Turn on").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    return key


@pytest.fixture
def name(page: Page) -> str:
    """Return the name of the user signed in to the page."""
    return page.locator(".user-button__name").inner_text()


def test_the_menu_links_to_the_account(page: Page) -> None:
    page.locator(".user-button").click()
    page.get_by_role("link", name="Account").click()
    expect(page.get_by_role("heading", name="Your account")).to_be_visible()


def test_sign_in_with_an_emailed_code(page: Page, site: Site, name: str) -> None:
    address = give_address(page, name)
    log_out(page)
    before = site.web.output
    page.get_by_role("link", name="Email me a code").click()
    page.get_by_label("Email address").fill(address)
    page.get_by_role("button", name="Send code").click()
    expect(page.get_by_text(address).first).to_be_visible()
    page.get_by_label("Code").fill("BBBB-BBBB")
    page.get_by_role("button", name="Continue", exact=True).click()
    expect(page.get_by_text("Incorrect code")).to_be_visible()
    page.get_by_label("Code").fill(mailed_code(site, before).lower())
    page.get_by_role("button", name="Continue", exact=True).click()
    page.wait_for_selector("#text")


def test_a_forgotten_password(page: Page, site: Site, name: str) -> None:
    address = give_address(page, name)
    log_out(page)
    before = site.web.output
    page.get_by_role("link", name="Forgot your password?").click()
    page.get_by_label("Email address").fill(address)
    page.get_by_role("button", name="Send code").click()
    page.get_by_label("Code").fill(mailed_code(site, before))
    page.get_by_role("button", name="Continue", exact=True).click()
    page.locator("[name=password1]").fill("another long password")
    page.locator("[name=password2]").fill("another long password")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("main").get_by_role("link", name="Sign in").click()
    page.get_by_label("Username or email").fill(name)
    page.get_by_label("Password").fill("another long password")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_selector("#text")


def test_an_authenticator_app_is_set_up_and_required(page: Page, name: str) -> None:
    key = add_app(page)
    recovery = page.locator(".codes li").first.inner_text()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download codes").click()
    assert recovery in download.value.path().read_text()
    log_out(page)
    log_in(page, name)
    expect(page.get_by_role("heading", name="Two-step verification")).to_be_visible()
    page.get_by_label("Code").fill("000000")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("Incorrect code")).to_be_visible()
    page.get_by_label("Code").fill(recovery)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_selector("#text")
    log_out(page)
    log_in(page, name)
    # The current code was already used to set up the app, so wait for the next one.
    wait_for_another(page, key)
    page.get_by_label("Code").fill(totp_code(key))
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_selector("#text")


def wait_for_another(page: Page, key: str) -> None:
    used = totp_code(key)
    end = time.monotonic() + 35
    while totp_code(key) == used and time.monotonic() < end:
        page.wait_for_timeout(500)


def test_sign_in_with_another_provider(
    new_context: Callable[..., BrowserContext], problems: list[str]
) -> None:
    page = new_context().new_page()
    page.goto("/accounts/login/")
    page.get_by_role("button", name="Continue with House").click()
    begin(page)
    expect(page.locator(".user-button__name")).to_have_text("dora")
    assert problems == []


def test_devices(page: Page, name: str, new_context: Callable[..., BrowserContext]) -> None:
    other = new_context().new_page()
    log_in(other, name)
    other.wait_for_selector("#text")
    open_account(page, "Your devices")
    expect(page.get_by_text("This device")).to_have_count(1)
    page.get_by_role("main").get_by_role("button", name="Sign out", exact=True).click()
    expect(page.get_by_text("That device has been signed out.")).to_be_visible()
    expect(other.get_by_text("You were signed out.")).to_be_visible(timeout=5_000)


# --- Passkeys, which browsers support only on domain names such as localhost ---


@pytest.fixture
def with_passkeys(new_context: Callable[..., BrowserContext]) -> Iterator[Page]:
    """Return a page of a new user in a browser whose virtual authenticator approves everything."""
    page = new_context().new_page()
    devtools = page.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    page.goto("/accounts/signup/")
    page.get_by_label("Username").fill("petra")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password (again)").fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    begin(page)
    yield page
    devtools.detach()


def test_a_passkey(with_passkeys: Page, problems: list[str]) -> None:
    page = with_passkeys
    page.goto("/accounts/second-factor/passkeys/add/")
    show_password_again(page)
    page.get_by_label("Name").fill("My laptop")
    page.get_by_role("button", name="Add a passkey").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    page.goto("/accounts/second-factor/passkeys/")
    expect(page.get_by_text("My laptop")).to_be_visible()

    # The passkey signs in without a password.
    page.goto("/accounts/logout/")
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_selector("#text")

    # It is the second factor after the password.
    page.goto("/accounts/logout/")
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Username or email").fill("petra")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Two-step verification")).to_be_visible()
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_selector("#text")

    # It confirms the user's identity before a change.
    page.goto("/accounts/second-factor/passkeys/")
    page.get_by_role("link", name="Remove").click()
    page.get_by_role("link", name="Use a security key").click()
    page.get_by_role("button", name="Use a passkey").click()
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("My laptop")).to_have_count(0)
    assert problems == []


def test_the_page_says_if_the_browser_does_not_support_passkeys(page: Page) -> None:
    log_out(page)
    page.add_init_script("delete window.PublicKeyCredential")
    page.reload()
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_text("This browser doesn't support passkeys")).to_be_visible()


# --- Accessibility ---


def code_page(page: Page, site: Site) -> None:
    page.context.clear_cookies()
    page.goto("/accounts/login/code/")
    page.get_by_label("Email address").fill("nobody@example.org")
    page.get_by_role("button", name="Send code").click()
    page.get_by_label("Code").fill("BBBB-BBBB")
    page.get_by_role("button", name="Continue", exact=True).click()
    expect(page.get_by_text("Incorrect code")).to_be_visible()


def second_step(page: Page, site: Site) -> None:
    name = page.locator(".user-button__name").inner_text()
    add_app(page)
    log_out(page)
    log_in(page, name)
    expect(page.get_by_role("heading", name="Two-step verification")).to_be_visible()


def app_page(page: Page, site: Site) -> None:
    page.goto("/accounts/second-factor/app/")
    show_password_again(page)
    expect(page.locator(".qr")).to_be_visible()


def passkey_page(page: Page, site: Site) -> None:
    page.add_init_script("delete window.PublicKeyCredential")
    page.goto("/accounts/second-factor/passkeys/add/")
    show_password_again(page)
    add = page.get_by_role("button", name="Add a passkey")
    expect(add).to_be_visible()
    # Until the script has loaded, the button does nothing.
    page.wait_for_load_state()
    add.click()
    expect(page.get_by_text("This browser doesn't support passkeys")).to_be_visible()


def address_page(page: Page, site: Site) -> None:
    give_address(page, "a-rather-long-name-of-somebody-with-a-number-" + str(time.monotonic_ns()))
    page.goto("/accounts/email/")


def recovery_page(page: Page, site: Site) -> None:
    add_app(page)


def at(path: str, *, signed_in: bool = True) -> Callable[[Page, Site], None]:
    def go(page: Page, site: Site) -> None:
        if not signed_in:
            page.context.clear_cookies()
        page.goto(path)

    return go


PAGES = {
    "login": at("/accounts/login/", signed_in=False),
    "signup": at("/accounts/signup/", signed_in=False),
    "reset": at("/accounts/password/reset/", signed_in=False),
    "cancelled": at("/accounts/connections/cancelled/", signed_in=False),
    "overview": at("/account/"),
    "factors": at("/accounts/second-factor/"),
    "connections": at("/accounts/connections/"),
    "devices": at("/account/devices/"),
    "again": at("/accounts/second-factor/app/"),
    "code": code_page,
    "second-step": second_step,
    "app": app_page,
    "recovery": recovery_page,
    "passkey": passkey_page,
    "address": address_page,
}


@pytest.mark.parametrize("what", PAGES)
def test_axe_finds_nothing(new_context: Callable[..., BrowserContext], site: Site, what: str) -> None:
    page = new_context(viewport={"width": 360, "height": 800}).new_page()
    sign_up(page)
    PAGES[what](page, site)
    for width in (360, 1440):
        page.set_viewport_size({"width": width, "height": 800})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            check(page)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
