"""Reporting a problem in a real browser, by keyboard, and what the person sees of it afterwards."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import query, say, sign_up, wait_for_end
from tests.fakes import RunningUpstream
from tests.site import Site

COMMENT = "It says that the moon is cheese."


def violations(page: Page) -> list[str]:
    """Return what axe finds wrong with the page as it is shown."""
    found = Axe().run(page)
    return [f"{rule['id']}: {rule['nodes'][0]['html']}" for rule in found.response["violations"]]


def answered(page: Page, upstream: RunningUpstream, text: str = "The moon is cheese.") -> None:
    upstream.answer_with(text)
    say(page, "What is the moon?")
    wait_for_end(page)


def test_a_report_by_keyboard_alone(page: Page, site: Site, upstream: RunningUpstream) -> None:
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
        site, "SELECT category, comment FROM conversations_report ORDER BY id DESC LIMIT 1"
    )
    assert (category, comment) == ("incorrect", COMMENT)

    # The second time it is the same report.
    page.locator(".status__report").click()
    expect(page.locator("form.report .notice")).to_contain_text("reported this answer already")
    expect(page.locator("form.report textarea")).to_have_value(COMMENT)
    page.locator("form.report").get_by_label("Harmful or dangerous").check()
    page.get_by_role("button", name="Send the report").click()
    expect(thanks).to_contain_text("was changed")
    page.get_by_role("link", name="See what comes of it").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("P-")
    expect(page.locator("main")).to_contain_text("Harmful or dangerous")
    assert violations(page) == []


def test_a_refused_report_keeps_what_was_typed(
    page: Page, upstream: RunningUpstream, problems: list[str]
) -> None:
    answered(page, upstream)
    page.locator(".status__report").click()
    page.locator("form.report").get_by_label("Something else").check()
    page.get_by_role("button", name="Send the report").click()
    field = page.locator("form.report textarea")
    expect(field).to_be_focused()
    expect(page.locator("form.report .errorlist")).to_have_text("Say in a few words what is wrong.")
    expect(page.get_by_label("Something else")).to_be_checked()
    assert violations(page) == []
    field.fill("The tone.")
    page.get_by_role("button", name="Send the report").click()
    expect(page.locator(".report--thanks")).to_be_visible()
    # The browser notes each answer that is no success.
    assert all("422" in problem for problem in problems)
    problems.clear()


def test_a_report_without_script(
    new_context: Callable[..., BrowserContext], site: Site, upstream: RunningUpstream
) -> None:
    page = new_context().new_page()
    sign_up(page)
    answered(page, upstream)
    plain = new_context(java_script_enabled=False, storage_state=page.context.storage_state()).new_page()
    plain.goto(page.url)
    plain.locator(".status__report").click()
    plain.get_by_label("Biased").check()
    plain.get_by_role("button", name="Send the report").click()
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
    assert query(site, "SELECT rating, reason FROM conversations_feedback ORDER BY id DESC LIMIT 1") == [
        (-1, "wrong")
    ]
    page.get_by_role("button", name="Bad answer").click()
    expect(page.get_by_role("button", name="Bad answer")).to_have_attribute("aria-pressed", "false")
    expect(page.locator(".chip")).to_have_count(0)


def test_a_report_about_the_site(page: Page) -> None:
    page.locator(".user-button").click()
    page.get_by_role("link", name="Report a problem").click()
    page.get_by_label("What happened?").fill("The page is slow.")
    page.get_by_role("button", name="Send the report").click()
    expect(page.locator("main")).to_contain_text("The page is slow.")
    page.get_by_role("link", name="My reports").click()
    expect(page.locator(".reports__item")).to_have_count(1)
    assert violations(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_nothing_is_wider_than_the_screen(
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
