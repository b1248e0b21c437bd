"""Reporting a problem in a browser: by keyboard, with errors, without JavaScript and on small screens."""

import re
import sqlite3
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.browser.conftest import query, say, sign_up, wait_for_end
from tests.fakes import RunningUpstream
from tests.site import Site

COMMENT = "It says that the moon is cheese."


def violations(page: Page) -> list[str]:
    """Return the accessibility violations that axe finds on the page."""
    found = Axe().run(page)
    return [f"{rule['id']}: {rule['nodes'][0]['html']}" for rule in found.response["violations"]]


def notify(site: Site, username: str, text: str, number: int) -> None:
    """Add an account notice for this user."""
    database = Path(site.settings["DATA_DIR"]) / "chat.sqlite3"
    with closing(sqlite3.connect(database, timeout=20)) as connection, connection:
        connection.execute(
            "INSERT INTO accounts_accountnotice (uuid, user_id, kind, text, created_at)"
            " SELECT ?, id, 'warning', ?, ? FROM accounts_user WHERE username = ?",
            (uuid.uuid4().hex, text, f"2026-01-0{number + 1} 00:00:00", username),
        )


def answered(page: Page, upstream: RunningUpstream, text: str = "The moon is cheese.") -> None:
    upstream.answer_with(text)
    say(page, "What is the moon?")
    wait_for_end(page)


def test_an_answer_can_be_reported_by_keyboard_alone(
    page: Page, site: Site, upstream: RunningUpstream
) -> None:
    answered(page, upstream)
    page.locator(".status__report").focus()
    page.keyboard.press("Space")
    expect(page.locator(".report__title")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("form.report")).to_have_count(0)
    expect(page.locator(".status__report")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".report__title")).to_be_focused()
    page.keyboard.press("Tab")
    for _ in range(4):
        page.keyboard.press("ArrowDown")
    expect(page.get_by_label("Incorrect")).to_be_checked()
    page.keyboard.press("Tab")
    page.keyboard.type(COMMENT)
    assert violations(page) == []
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    thanks = page.locator(".report--thanks")
    expect(thanks).to_contain_text(re.compile(r"P-[A-Z2-9]{4}-[A-Z2-9]{4}"))
    expect(thanks).to_be_focused()
    [(category, comment)] = query(
        site, "SELECT category, comment FROM review_report ORDER BY id DESC LIMIT 1"
    )
    assert (category, comment) == ("incorrect", COMMENT)

    # Reporting the answer again changes the same report.
    page.locator(".status__report").click()
    expect(page.locator("form.report .notice")).to_contain_text("already reported this answer")
    expect(page.locator("form.report textarea")).to_have_value(COMMENT)
    page.locator("form.report").get_by_label("Harmful or dangerous").check()
    page.get_by_role("button", name="Send report").click()
    expect(thanks).to_contain_text("has been updated")
    page.get_by_role("link", name="View your report").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("P-")
    expect(page.locator("main")).to_contain_text("Harmful or dangerous")
    assert violations(page) == []


def test_a_refused_report_keeps_what_was_typed(
    page: Page, upstream: RunningUpstream, problems: list[str]
) -> None:
    answered(page, upstream)
    page.locator(".status__report").click()
    page.locator("form.report").get_by_label("Something else").check()
    page.get_by_role("button", name="Send report").click()
    field = page.locator("form.report textarea")
    expect(field).to_be_focused()
    expect(page.locator("form.report .errorlist")).to_have_text("Describe the problem in a few words.")
    expect(page.get_by_label("Something else")).to_be_checked()
    assert violations(page) == []
    field.fill("The tone.")
    page.get_by_role("button", name="Send report").click()
    expect(page.locator(".report--thanks")).to_be_visible()
    # The browser logs every response with an error status.
    assert all("422" in problem for problem in problems)
    problems.clear()


def open_form(page: Page, comment: str = "") -> None:
    page.locator(".status__report").last.click()
    expect(page.locator(".report__title")).to_be_focused()
    page.locator("form.report").get_by_label("Biased").check()
    page.locator("form.report textarea").fill(comment)


def is_in_view(page: Page, selector: str) -> bool:
    """Return whether the whole element is within the visible part of the messages."""
    return bool(
        page.evaluate(
            """(selector) => {
                const [box, view] = [selector, "#scroller"].map((s) => document.querySelector(s).getBoundingClientRect());
                return box.top >= view.top - 1 && box.bottom <= view.bottom + 1;
            }""",
            selector,
        )
    )


def fail(route: Route, how: str) -> None:
    if route.request.method == "GET":
        route.continue_()
    elif how == "error":
        route.fulfill(status=500, content_type="text/html", body="<html><h1>Server error</h1></html>")
    else:
        route.abort()


@pytest.mark.parametrize("how", ["error", "network"])
def test_a_report_that_could_not_be_sent_is_kept(
    page: Page, upstream: RunningUpstream, problems: list[str], how: str
) -> None:
    answered(page, upstream)
    open_form(page, COMMENT)
    page.route("**/report/*/", lambda route: fail(route, how))
    page.get_by_role("button", name="Send report").click()
    expect(page.get_by_role("alert").filter(has_text="Something went wrong.")).to_be_visible()
    expect(page.locator("form.report textarea")).to_have_value(COMMENT)
    expect(page.locator("#thread")).not_to_contain_text("Server error")
    page.unroute("**/report/*/")
    page.get_by_role("button", name="Send report").click()
    expect(page.locator(".report--thanks")).to_be_visible()
    expect(page.locator(".went-wrong")).to_have_count(0)
    problems.clear()


def test_the_sign_in_page_is_not_inserted_into_the_thread(page: Page, upstream: RunningUpstream) -> None:
    answered(page, upstream)
    page.context.clear_cookies(name="sessionid")
    for button in ("Report a problem", "Good answer"):
        page.get_by_role("button", name=button).click()
        expect(page.locator(".went-wrong")).to_have_text("You were signed out.")
        expect(page.locator("#thread [name=login]")).to_have_count(0)


def test_characters_are_counted_and_text_is_never_truncated(
    page: Page, upstream: RunningUpstream, problems: list[str]
) -> None:
    answered(page, upstream)
    open_form(page, "x" * 998 + "\n🌍🌍")
    counter = page.locator(".report__count")
    expect(counter).to_have_text("1,001 / 1,000")
    expect(page.locator("form.report textarea")).to_have_attribute("aria-invalid", "true")
    page.get_by_role("button", name="Send report").click()
    expect(page.locator("form.report .errorlist")).to_contain_text("at most 1000 characters")
    expect(counter).to_have_text("1,001 / 1,000")
    page.locator("form.report textarea").fill("x" * 998 + "\n🌍")
    expect(counter).to_have_text("1,000 / 1,000")
    page.get_by_role("button", name="Send report").click()
    expect(page.locator(".report--thanks")).to_be_visible()
    problems.clear()


def test_escape_during_composition_does_not_close_the_form(page: Page, upstream: RunningUpstream) -> None:
    answered(page, upstream)
    open_form(page, COMMENT)
    press = """(field, isComposing) => {
        field.dispatchEvent(new KeyboardEvent("keydown", {key: "Escape", bubbles: true, isComposing}));
    }"""
    page.locator("form.report textarea").evaluate(press, True)
    expect(page.locator("form.report textarea")).to_have_value(COMMENT)
    page.locator("form.report textarea").evaluate(press, False)
    expect(page.locator("form.report")).to_have_count(0)


def test_a_form_taller_than_the_screen_opens_at_its_top(page: Page, upstream: RunningUpstream) -> None:
    page.set_viewport_size({"width": 360, "height": 560})
    answered(page, upstream)
    page.locator(".status__report").click()
    expect(page.locator(".report__title")).to_be_focused()
    assert is_in_view(page, ".report__title")
    expect(page.locator(".topbar")).to_be_in_viewport(ratio=1)


def test_an_open_form_stays_in_place_while_an_answer_grows(page: Page, upstream: RunningUpstream) -> None:
    # The screen is tall enough for the form to open without scrolling.
    page.set_viewport_size({"width": 1280, "height": 1400})
    answered(page, upstream)
    upstream.answer_with("Begun. ", upstream.hold(), *["Another paragraph.\n\n"] * 90)
    say(page, "And now?")
    expect(page.locator(".open")).to_contain_text("Begun.")
    page.locator(".status__report").first.click()
    expect(page.locator(".report__title")).to_be_focused()
    page.locator("form.report textarea").fill("Not yet")
    assert is_in_view(page, ".report__title")
    upstream.release()
    wait_for_end(page)
    assert is_in_view(page, ".report__title")
    expect(page.locator("form.report textarea")).to_have_value("Not yet")


def test_an_answer_can_be_reported_without_javascript(
    new_context: Callable[..., BrowserContext], site: Site, upstream: RunningUpstream
) -> None:
    page = new_context().new_page()
    sign_up(page)
    answered(page, upstream)
    plain = new_context(java_script_enabled=False, storage_state=page.context.storage_state()).new_page()
    plain.goto(page.url)
    plain.locator(".status__report").click()
    plain.get_by_label("Biased").check()
    plain.get_by_role("button", name="Send report").click()
    expect(plain.get_by_role("heading", level=1)).to_contain_text("Report P-")


def test_thumbs(page: Page, site: Site, upstream: RunningUpstream) -> None:
    answered(page, upstream)
    bad = page.get_by_role("button", name="Bad answer")
    bad.click()
    expect(bad).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="wrong", exact=True).click()
    expect(page.get_by_role("button", name="wrong", exact=True)).to_have_attribute("aria-pressed", "true")
    page.reload()
    expect(page.get_by_role("button", name="wrong", exact=True)).to_have_attribute("aria-pressed", "true")
    assert query(site, "SELECT rating, reason FROM chat_feedback ORDER BY id DESC LIMIT 1") == [(-1, "wrong")]
    page.get_by_role("button", name="Bad answer").click()
    expect(page.get_by_role("button", name="Bad answer")).to_have_attribute("aria-pressed", "false")
    expect(page.locator(".chip")).to_have_count(0)


def test_a_report_about_the_site(page: Page) -> None:
    page.locator(".user-button").click()
    page.get_by_role("link", name="Report a problem").click()
    page.get_by_label("What happened?").fill("The page is slow.")
    page.get_by_role("button", name="Send report").click()
    expect(page.locator("main")).to_contain_text("The page is slow.")
    page.get_by_role("link", name="My reports").click()
    expect(page.locator(".reports__item")).to_have_count(1)
    assert violations(page) == []


def test_a_report_from_a_new_chat_stores_its_page(page: Page, upstream: RunningUpstream) -> None:
    answered(page, upstream)
    page.locator(".user-button").click()
    page.get_by_role("link", name="Report a problem").click()
    expect(page.locator("[name=page]")).to_have_value(re.compile("^/c/"))


def test_account_notices_leave_room_for_the_chat_and_are_acknowledged_one_by_one(
    new_context: Callable[..., BrowserContext], site: Site, upstream: RunningUpstream
) -> None:
    page = new_context(viewport={"width": 360, "height": 560}).new_page()
    name = sign_up(page)
    answered(page, upstream)
    for number, text in enumerate(("Long. " * 300, "Short.")):
        notify(site, name, text, number)
    page.reload()
    expect(page.locator("#text")).to_be_in_viewport(ratio=1)
    assert page.locator("#scroller").evaluate("(messages) => messages.clientHeight") > 100
    assert violations(page) == []
    buttons = page.get_by_role("button", name="I have read this")
    expect(buttons).to_have_count(2)
    buttons.first.focus()
    page.keyboard.press("Enter")
    expect(buttons).to_have_count(1)
    expect(buttons).to_be_focused()
    page.keyboard.press("Enter")
    expect(buttons).to_have_count(0)
    expect(page.locator("#text")).to_be_focused()
    page.reload()
    expect(page.locator(".account-notice")).to_have_count(0)


def test_a_flash_message_can_be_dismissed(page: Page, upstream: RunningUpstream) -> None:
    answered(page, upstream)
    open_form(page, COMMENT)
    page.get_by_role("button", name="Send report").click()
    expect(page.locator(".report--thanks")).to_be_visible()
    page.get_by_role("button", name="Options for this conversation").click()
    page.locator("#delete button").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator(".flash")).to_contain_text("removed from your list")
    expect(page.locator("#announce")).to_contain_text("removed from your list")
    assert violations(page) == []
    page.get_by_role("button", name="Dismiss").click()
    expect(page.locator(".flash")).to_have_count(0)
    expect(page.locator("#text")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1440])
def test_the_report_form_fits_the_screen(
    new_context: Callable[..., BrowserContext],
    upstream: RunningUpstream,
    tmp_path: Path,
    width: int,
    scheme: str,
) -> None:
    context = new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    sign_up(page)
    answered(page, upstream)
    page.get_by_role("button", name="Bad answer").click()
    page.wait_for_selector(".chip")
    page.locator(".status__report").click()
    page.wait_for_selector("form.report")
    page.screenshot(path=tmp_path / "form.png")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert violations(page) == []
