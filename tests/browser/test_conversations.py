"""Tests of the list of conversations and of several open pages in a real browser."""

from playwright.sync_api import Page, expect

from tests.browser.conftest import answer_in, say, wait_for_end
from tests.fakes import RunningUpstream


def test_rename_and_delete(page: Page, upstream: RunningUpstream) -> None:
    upstream.answer_with("Hi.")
    say(page, "A first title")
    wait_for_end(page)
    page.get_by_role("button", name="Options for this conversation").click()
    page.get_by_label("Title", exact=True).fill("Another title")
    page.get_by_role("button", name="Rename").click()
    expect(page.locator("#title")).to_have_text("Another title")
    page.get_by_role("button", name="Options for this conversation").click()
    page.locator("#delete button").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.wait_for_url("**/")
    expect(page.locator("#conversation-list a")).to_have_count(0)


def choose_in_list(page: Page, title: str) -> None:
    """Open the menu of a conversation from its row in the list."""
    item = page.locator(".conversations__item", has_text=title)
    item.hover()
    item.get_by_role("button").click()


def test_another_conversation_is_renamed_and_deleted_from_the_list(
    page: Page, upstream: RunningUpstream
) -> None:
    for title in ("First", "Second", "Third"):
        page.goto("/")
        upstream.answer_with("Hi.")
        say(page, title)
        wait_for_end(page)
    address = page.url
    page.locator("#text").fill("Not sent yet")
    page.evaluate("window.isSamePage = true")
    choose_in_list(page, "First")
    page.get_by_label("Title", exact=True).fill("Renamed")
    page.get_by_role("button", name="Rename").click()
    expect(page.locator("#conversation-list a")).to_have_text(["Third", "Second", "Renamed"])
    expect(page.locator("#conversation-menu")).to_be_hidden()
    expect(page.locator("#conversation-list a").last).to_be_focused()
    expect(page.locator("#title")).to_have_text("Third")
    for title, left in (("Second", ["Third", "Renamed"]), ("Renamed", ["Third"])):
        choose_in_list(page, title)
        page.locator("#delete button").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text(f"“{title}”")
        dialog.get_by_role("button", name="Delete").click()
        expect(page.locator("#conversation-list a")).to_have_text(left)
    choose_in_list(page, "Third")
    page.get_by_label("Title", exact=True).fill("Shown")
    page.get_by_role("button", name="Rename").click()
    expect(page.locator("#title")).to_have_text("Shown")
    expect(page).to_have_title("Shown · Chat")
    expect(page.locator("#conversation-list [aria-current]")).to_have_text("Shown")
    assert page.url == address
    assert page.evaluate("window.isSamePage")
    expect(page.locator("#text")).to_have_value("Not sent yet")
    page.reload()
    expect(page.locator("#text")).to_have_value("Not sent yet")


def test_a_page_over_the_limit_keeps_the_text_and_connects_once_another_closes(
    page: Page, upstream: RunningUpstream
) -> None:
    connected = "() => window.others.every((socket) => socket.readyState === WebSocket.OPEN)"
    page.evaluate("window.others = Array.from({ length: 19 }, () => new WebSocket('/ws/chat/'))")
    page.wait_for_function(connected)
    late = page.context.new_page()
    late.goto("/")
    expect(late.locator("#connection")).to_contain_text("You already have 20 chat pages open")
    say(late, "Keep me")
    expect(late.locator("#composer-error")).to_contain_text("not sent")
    expect(late.locator("#text")).to_have_value("Keep me")
    expect(late.locator("#composer-state")).to_be_empty()
    # The page has tried again by now, and still says so.
    late.wait_for_event("websocket")
    expect(late.locator("#connection")).to_be_visible()
    page.evaluate("window.others[0].close()")
    expect(late.locator("#connection")).to_be_hidden()
    expect(late.locator("#composer-error")).to_be_empty()
    expect(late.locator("#thread .message")).to_have_count(0)
    upstream.answer_with("Welcome.")
    late.locator("#text").press("Enter")
    wait_for_end(late)
    assert answer_in(late) == "Welcome."
    expect(late.locator("#text")).to_have_value("")
