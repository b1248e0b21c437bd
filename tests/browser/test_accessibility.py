"""Tests that axe finds no problems on any page or in any state, in light and dark themes."""

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, ViewportSize, expect

from tests.browser.axe import check
from tests.browser.conftest import say, sign_up, wait_for_end
from tests.fakes import RunningUpstream

PHONE: ViewportSize = {"width": 360, "height": 740}
LONG_ANSWER = (
    "# Sorting\n\nA *stable* sort keeps `equal` items in order; [more](https://example.org/sort).\n\n",
    "> Measure first.\n\n1. One\n2. Two\n   - nested\n\n",
    '```python\n# A comment\n@cache\ndef sort(items: list[int]) -> list[int]:\n    """Return them."""\n',
    "    return sorted(items, key=lambda item: -item if item > 0x1F else 3.14)  # as they are, in a line that scrolls\n",
    "```\n\n",
    "```diff\n- old\n+ new\n```\n\n```console\n$ ls\nfile\n```\n\n",
    "| Sort | Best | Worst | Memory |\n|:--|--:|--:|:-:|\n| Tim | n | n log n | n |\n| Heap | n log n | n log n | 1 |\n\n",
    "![A picture](https://example.org/p.png) The end.",
)


def say_and_wait(page: Page, upstream: RunningUpstream) -> None:
    upstream.answer_with(*LONG_ANSWER)
    say(page, "How do computers sort?")
    wait_for_end(page)


def chat_empty(page: Page, upstream: RunningUpstream) -> None:
    expect(page.get_by_role("heading", name="What would you like to know?")).to_be_visible()


def chat_streaming(page: Page, upstream: RunningUpstream) -> None:
    upstream.answer_with(*LONG_ANSWER[:3], upstream.hold())
    say(page, "How do computers sort?")
    expect(page.locator(".open")).to_contain_text("Return them.")


def chat_stopped(page: Page, upstream: RunningUpstream) -> None:
    chat_streaming(page, upstream)
    page.get_by_role("button", name="Stop").click()
    wait_for_end(page)
    expect(page.locator(".message--assistant .note")).to_contain_text("Stopped")


def chat_answered(page: Page, upstream: RunningUpstream) -> None:
    say_and_wait(page, upstream)
    page.locator(".usage").click()
    page.get_by_role("button", name="Good answer").click()
    expect(page.locator(".chip").first).to_be_visible()


def chat_failed(page: Page, upstream: RunningUpstream) -> None:
    upstream.fault = "not-found"
    say(page, "Go")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()


def chat_refused(page: Page, upstream: RunningUpstream) -> None:
    page.locator("#text").fill("x" * 16_001)
    expect(page.locator("#composer-error")).to_contain_text("too long")


def reporting(page: Page, upstream: RunningUpstream) -> None:
    say_and_wait(page, upstream)
    page.get_by_role("button", name="Report a problem").click()
    expect(page.locator(".report")).to_be_visible()


def options_open(page: Page, upstream: RunningUpstream) -> None:
    page.get_by_role("button", name="Options", exact=True).click()
    expect(page.locator("#options")).to_be_visible()


def user_menu_open(page: Page, upstream: RunningUpstream) -> None:
    page.locator(".user-button").click()
    expect(page.locator("#user-menu")).to_be_visible()


def conversation_menu_open(page: Page, upstream: RunningUpstream) -> None:
    say_and_wait(page, upstream)
    page.get_by_role("button", name="Options for this conversation").click()
    expect(page.locator("#conversation-menu")).to_be_visible()


def question_open(page: Page, upstream: RunningUpstream) -> None:
    conversation_menu_open(page, upstream)
    page.locator("#delete button").click()
    expect(page.get_by_role("dialog")).to_be_visible()


def sidebar_open(page: Page, upstream: RunningUpstream) -> None:
    say_and_wait(page, upstream)
    page.set_viewport_size(PHONE)
    page.get_by_role("button", name="Conversations").click()
    expect(page.locator("#sidebar")).to_be_visible()


STATES = [
    chat_empty,
    chat_streaming,
    chat_stopped,
    chat_answered,
    chat_failed,
    chat_refused,
    reporting,
    options_open,
    user_menu_open,
    conversation_menu_open,
    question_open,
    sidebar_open,
]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", STATES)
def test_chat(
    new_context: Callable[..., BrowserContext],
    upstream: RunningUpstream,
    state: Callable[[Page, RunningUpstream], None],
    scheme: str,
) -> None:
    page = new_context(color_scheme=scheme).new_page()
    sign_up(page)
    state(page, upstream)
    check(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/accounts/login/", "/accounts/signup/", "/accounts/nothing/"])
def test_pages_for_anonymous_users(
    new_context: Callable[..., BrowserContext], path: str, scheme: str
) -> None:
    page = new_context(color_scheme=scheme).new_page()
    page.goto(path)
    check(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "path",
    [
        "/accounts/reauthenticate/",
        "/accounts/password/change/",
        "/accounts/logout/",
        "/c/00000000-0000-4000-8000-000000000000/",
    ],
)
def test_other_pages_for_users(new_context: Callable[..., BrowserContext], path: str, scheme: str) -> None:
    page = new_context(color_scheme=scheme).new_page()
    sign_up(page)
    page.goto(path)
    check(page)
