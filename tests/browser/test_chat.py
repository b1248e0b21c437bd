"""Tests of the chat in a real browser."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, WebSocketRoute, expect

from tests.browser.conftest import answer_in, query, say, sign_up, wait_for_end
from tests.fakes import RunningUpstream, Thought
from tests.site import Site

ANSWER = [
    "# Title\n\n",
    "A *first* para",
    "graph.\n\n",
    "- one\n- two\n\n",
    "```python\nx = 1\n",
    "```\n\n",
    "The end.",
]


def test_a_first_message(page: Page, site: Site, upstream: RunningUpstream) -> None:
    upstream.answer_with(*ANSWER)
    say(page, "What is <b>this</b>?\nTell me.")
    wait_for_end(page)
    expect(page.locator(".message--user .message__text")).to_have_text("What is <b>this</b>?\nTell me.")
    expect(page.locator(".done h1, .done h2, .done h3").first).to_have_text("Title")
    expect(page.locator(".done pre code")).to_have_text("x = 1\n")
    expect(page.locator("#text")).to_have_value("")
    expect(page).to_have_url(re.compile(r"/c/[0-9a-f-]{36}/$"))
    expect(page).to_have_title("What is <b>this</b>? · Chat")
    expect(page.locator("#conversation-list [aria-current]")).to_have_text("What is <b>this</b>?")
    live = page.locator("#thread").inner_html()
    page.reload()
    assert page.locator("#thread .done").inner_html() in live


def test_a_reload_shows_what_was_streamed(page: Page, upstream: RunningUpstream) -> None:
    upstream.rate = 400
    upstream.chars = 7
    say(page, "A sample, please")
    wait_for_end(page)
    streamed = page.locator(".message--assistant .done").inner_html()
    page.reload()
    assert page.locator(".message--assistant .done").inner_html() == streamed
    assert "fake upstream" in streamed


def test_a_long_frame_arrives_in_pieces(page: Page, upstream: RunningUpstream) -> None:
    upstream.answer_with("".join(f"Line {number}: {'wörter ' * 20}\n\n" for number in range(2_000)))
    say(page, "Go")
    wait_for_end(page)
    assert page.locator(".done p").count() == 2_000
    expect(page.locator(".done p").last).to_contain_text("Line 1999: wörter")
    streamed = page.locator(".message--assistant .done").inner_html()
    page.reload()
    assert page.locator(".message--assistant .done").inner_html() == streamed


def test_reasoning_is_collapsed_to_one_line_until_it_is_opened(
    page: Page, site: Site, upstream: RunningUpstream
) -> None:
    gates = [upstream.hold() for _ in range(3)]
    upstream.answer_with(
        *(Thought("First <b>this</b>,\n"), gates[0], Thought("then that."), gates[1]),
        *("The answer", gates[2], " is two."),
    )
    say(page, "Think")
    summary, text = page.locator(".reasoning__summary"), page.locator(".reasoning__text")
    expect(summary).to_have_text("Thinking…")
    expect(text).to_be_hidden()
    summary.focus()
    page.keyboard.press("Enter")
    expect(text).to_be_visible()
    assert text.inner_text() == "First <b>this</b>,\n"
    expect(page).to_have_url(re.compile(r"/c/[0-9a-f-]{36}/$"))
    other = page.context.new_page()
    other.goto(page.url)
    expect(other.locator(".reasoning__summary")).to_have_text("Thinking…")
    gates[0].release()
    for tab in (page, other):
        expect(tab.locator(".reasoning__text")).to_have_text("First <b>this</b>,\nthen that.")
    # Reload while the model is reasoning.
    other.reload()
    expect(other.locator(".reasoning__text")).to_have_text("First <b>this</b>,\nthen that.")
    gates[1].release()
    for tab in (page, other):
        expect(tab.locator(".open")).to_have_text("The answer")
        expect(tab.locator(".reasoning__summary")).to_have_text(re.compile(r"Thought for \d+ seconds?"))
    expect(text).to_be_visible()
    expect(other.locator(".reasoning__text")).to_be_hidden()
    gates[2].release()
    wait_for_end(page)
    expect(text).to_be_visible()
    assert answer_in(page) == "The answer is two."
    assert "then that" not in "".join(page.locator("[aria-live]").all_text_contents())
    streamed = page.locator(".reasoning").inner_html()
    page.reload()
    assert page.locator(".reasoning").inner_html() == streamed
    # An answer without reasoning shows no summary.
    say(page, "Another")
    wait_for_end(page)
    expect(page.locator(".reasoning").last).to_be_hidden()


@pytest.mark.parametrize("share", [10, 50, 99])
def test_a_reload_while_an_answer_streams(
    page: Page, site: Site, upstream: RunningUpstream, share: int
) -> None:
    words = [f"word{number} " + ("\n\n" if number % 9 == 0 else "") for number in range(100)]
    upstream.answer_with(*words[:share], upstream.hold(), *words[share:])
    say(page, "Go")
    expect(page.locator(".message--assistant")).to_contain_text(f"word{share - 1}")
    page.reload()
    expect(page.locator(".message--assistant")).to_contain_text(f"word{share - 1}")
    upstream.release()
    wait_for_end(page)
    expected = "".join(words).split()
    assert answer_in(page).split() == expected
    [(text,)] = query(site, "SELECT text FROM chat_message WHERE role = 'assistant' ORDER BY id DESC LIMIT 1")
    assert text == "".join(words)


def test_stop_in_another_tab(page: Page, site: Site, upstream: RunningUpstream) -> None:
    upstream.answer_with("Some text. ", upstream.hold(), "Never shown.")
    say(page, "Go")
    expect(page.locator(".open")).to_contain_text("Some text.")
    other = page.context.new_page()
    other.goto(page.url)
    expect(other.locator(".open")).to_contain_text("Some text.")
    other.get_by_role("button", name="Stop").click()
    for tab in (page, other):
        expect(tab.locator(".message--assistant .status")).to_contain_text("Stopped")
        assert answer_in(tab) == "Some text."
        expect(tab.get_by_role("button", name="Continue")).to_be_visible()
    assert query(site, "SELECT text FROM chat_message WHERE role = 'assistant' ORDER BY id DESC LIMIT 1") == [
        ("Some text. ",)
    ]


def test_continue_extends_the_same_message(page: Page, upstream: RunningUpstream) -> None:
    upstream.respond_with("cut")
    say(page, "Go")
    wait_for_end(page)
    upstream.answer_with("and ends.")
    page.get_by_role("button", name="Continue").click()
    expect(page.locator(".message--assistant .done")).to_have_text("This answer begins well, and ends.")
    expect(page.locator(".message--assistant")).to_have_count(1)


def test_a_failed_answer_can_be_tried_again(page: Page, upstream: RunningUpstream) -> None:
    upstream.respond_with("unauthorized")
    say(page, "Go")
    expect(page.locator(".message--assistant .status")).to_contain_text("rejected this site's API key")
    upstream.answer_with("Better now.")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".message--assistant .done")).to_have_text("Better now.")


def test_an_answer_can_be_tried_again_after_the_time_to_wait(page: Page, upstream: RunningUpstream) -> None:
    page.clock.install()
    page.goto("/")
    upstream.fault = "rate-limit-long"
    say(page, "Go")
    button = page.locator(".status__continue button")
    expect(button).to_have_text(re.compile(r"^Try again in (2:00|1:5\d)$"))
    expect(button).to_be_disabled()
    page.clock.fast_forward("00:30")
    expect(button).to_have_text(re.compile(r"^Try again in 1:[0-3]\d$"))
    page.reload()
    expect(button).to_be_disabled()
    page.clock.fast_forward("03:00")
    expect(button).to_have_text("Try again")
    expect(button).to_be_enabled()


def test_a_refused_message_stays_and_shows_the_reason(page: Page, upstream: RunningUpstream) -> None:
    page.get_by_role("button", name="Options").click()
    page.locator("#max-tokens").evaluate(
        "field => { field.removeAttribute('max'); field.value = '1000000000' }"
    )
    page.keyboard.press("Escape")
    say(page, "Keep me")
    expect(page.locator("#composer-error")).to_contain_text("at most")
    expect(page.locator("#text")).to_have_value("Keep me")
    expect(page.locator("#thread .message")).to_have_count(0)


def test_the_wait_for_an_answer_is_not_asked_for_once_it_has_ended(
    page: Page, upstream: RunningUpstream
) -> None:
    for end in ("complete", "stopped"):
        upstream.answer_with("Begun ", upstream.hold(), "and ended.")
        say(page, "One")
        expect(page.locator(".open")).to_contain_text("Begun")
        say(page, "Two")
        expect(page.locator("#composer-error")).to_contain_text("still being written")
        if end == "complete":
            upstream.release()
        else:
            page.get_by_role("button", name="Stop").click()
        wait_for_end(page)
        expect(page.locator("#composer-error")).to_be_empty()
        expect(page.locator("#text")).to_have_value("Two")
    # Another refusal stays.
    page.locator("#text").fill("x" * 16_001)
    page.locator("#text").press("Enter")
    expect(page.locator("#composer-error")).to_contain_text("too long")


def test_a_message_over_the_limit_is_not_sent(page: Page, upstream: RunningUpstream) -> None:
    page.locator("#text").fill("x" * 16_001)
    expect(page.locator("#composer-count")).to_contain_text("16,001")
    page.locator("#text").press("Enter")
    expect(page.locator("#thread .message")).to_have_count(0)
    expect(page.locator("#text")).to_have_value("x" * 16_001)


def test_the_draft_survives_a_reload(page: Page) -> None:
    page.locator("#text").fill("Not yet sent")
    page.reload()
    expect(page.locator("#text")).to_have_value("Not yet sent")


def test_shift_enter_starts_a_new_line(page: Page) -> None:
    page.locator("#text").press_sequentially("one")
    page.locator("#text").press("Shift+Enter")
    page.locator("#text").press_sequentially("two")
    expect(page.locator("#text")).to_have_value("one\ntwo")
    expect(page.locator("#thread .message")).to_have_count(0)


def test_the_page_recovers_from_a_lost_connection(page: Page, upstream: RunningUpstream) -> None:
    """Lose the connection while an answer streams, and check that the text is complete and not repeated."""
    sockets: list[WebSocketRoute] = []

    def pass_on(socket: WebSocketRoute) -> None:
        sockets.append(socket)
        socket.connect_to_server()

    page.route_web_socket("**/ws/chat/", pass_on)
    page.goto("/")
    upstream.answer_with("Before.\n\nStill ", upstream.hold(), "there.\n\nAfter.")
    say(page, "Go")
    expect(page.locator(".open")).to_contain_text("Still")
    sockets[-1].close(code=1011)
    upstream.release()
    wait_for_end(page)
    assert answer_in(page).split() == ["Before.", "Still", "there.", "After."]
    assert len(sockets) == 2


def test_the_page_recovers_from_a_restart_of_the_site(
    page: Page, site: Site, upstream: RunningUpstream, problems: list[str]
) -> None:
    upstream.answer_with("Before the restart. ", upstream.hold(), "Never.")
    say(page, "Go")
    expect(page.locator(".open")).to_contain_text("Before the restart.")
    assert site.web.end() == 0
    page.locator("#text").fill("Typed meanwhile")
    site.start()
    expect(page.locator(".message--assistant .status")).to_contain_text("interrupted", timeout=20_000)
    assert answer_in(page) == "Before the restart."
    expect(page.locator("#text")).to_have_value("Typed meanwhile")
    # The browser rightly complains that it could not connect for a while.
    problems[:] = [text for text in problems if "ws:error" not in text and "WebSocket" not in text]


def test_two_tabs_show_the_same(page: Page, upstream: RunningUpstream) -> None:
    upstream.answer_with("First.")
    say(page, "One")
    wait_for_end(page)
    other = page.context.new_page()
    other.goto(page.url)
    upstream.answer_with(*ANSWER)
    say(page, "Two")
    expect(other.locator(".message--assistant")).to_have_count(2)
    wait_for_end(page)
    wait_for_end(other)
    assert page.locator("#thread .done").last.inner_html() == other.locator("#thread .done").last.inner_html()


def test_the_page_scrolls_only_for_a_reader_at_the_bottom(page: Page, upstream: RunningUpstream) -> None:
    gate = upstream.hold()
    upstream.answer_with("A paragraph.\n\n" * 60, gate, "More.\n\n" * 30)
    say(page, "Go")
    expect(page.locator(".message--assistant .done p")).to_have_count(59)
    at_bottom = """() => {
        const s = document.querySelector("#scroller");
        return s.scrollHeight - s.scrollTop - s.clientHeight < 80;
    }"""
    page.wait_for_function(at_bottom)
    page.locator("#scroller").evaluate("s => { s.scrollTop = 100 }")
    expect(page.get_by_role("button", name="Jump to latest")).to_be_visible()
    upstream.release()
    wait_for_end(page)
    assert page.locator("#scroller").evaluate("s => s.scrollTop") == 100
    page.get_by_role("button", name="Jump to latest").click()
    page.wait_for_function(at_bottom)


def test_code_can_be_copied(page: Page, upstream: RunningUpstream) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    upstream.answer_with("```python\nprint('<hi>')\n```\n")
    say(page, "Go")
    wait_for_end(page)
    page.locator(".code [data-copy]").click()
    assert page.evaluate("navigator.clipboard.readText()") == "print('<hi>')"


HOSTILE = [
    "<script>window.hacked = 1</script>",
    '<img src=x onerror="window.hacked = 1">',
    "[x](javascript:window.hacked=1)",
    "![x](https://evil.example/pixel.png)",
    '<hx-partial hx-target="#text" hx-swap="outerHTML">gone</hx-partial>',
    '<a href="/" hx-get="/" hx-trigger="load">x</a>',
    "</hx-partial><script>window.hacked = 1</script>",
    "```\n</code></pre><script>window.hacked = 1</script>\n```",
    '```"><script>window.hacked=1</script>\nx\n```',
    "&lt;script&gt;window.hacked=1&lt;/script&gt;",
]


def test_hostile_markup_stays_text(page: Page, upstream: RunningUpstream) -> None:
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    text = "\n\n".join(HOSTILE)
    upstream.answer_with(*text)
    say(page, text)
    wait_for_end(page)
    for _ in range(2):
        assert page.evaluate("window.hacked") is None
        assert page.locator("#text").count() == 1
        assert page.locator("#thread img, #thread script, #thread .prose [hx-get]").count() == 0
        page.reload()
    assert not [url for url in requested if "evil.example" in url]


def test_earlier_messages_can_be_shown(page: Page, upstream: RunningUpstream) -> None:
    upstream.chars, upstream.length = 20, 3
    for number in range(22):
        say(page, f"Message number {number}")
        expect(page.locator(".message--assistant")).to_have_count(number + 1)
        wait_for_end(page)
    page.reload()
    expect(page.locator(".message")).to_have_count(40)
    page.get_by_role("link", name="Show earlier messages").click()
    expect(page.locator(".message")).to_have_count(44)
    expect(page.locator(".message").first).to_contain_text("Message number 0")
    upstream.length = None


def test_sign_out_in_another_tab(page: Page, upstream: RunningUpstream) -> None:
    other = page.context.new_page()
    other.goto("/accounts/logout/")
    other.locator("main .button--primary").click()
    expect(page.locator("#connection")).to_contain_text("signed out", timeout=10_000)


def test_the_chat_works_without_script(
    new_context: Callable[..., BrowserContext], site: Site, upstream: RunningUpstream
) -> None:
    page = new_context(java_script_enabled=False).new_page()
    sign_up(page)
    upstream.answer_with("Plain, but it works.")
    page.locator("#text").fill("Without script")
    page.get_by_role("button", name="Send").click()
    for _ in range(20):
        if "it works" in page.content():
            break
        page.reload()
    expect(page.locator(".message--assistant")).to_contain_text("Plain, but it works.")


def test_only_the_last_cell_and_the_last_row_of_a_table_change(page: Page, upstream: RunningUpstream) -> None:
    gates = [upstream.hold() for _ in range(3)]
    upstream.answer_with(
        *("| a |\n|---|\n| b |\n| *c", gates[0], "* |\n", gates[1], "| `d` |\n", gates[2], "\nEnd."),
    )
    say(page, "Go")
    cells = page.locator(".open td")
    expect(cells).to_have_text(["b", "*c"])
    page.locator(".open table").evaluate("table => { table.dataset.same = '1' }")
    gates[0].release()
    expect(cells).to_have_text(["b", "c"])
    gates[1].release()
    expect(cells).to_have_text(["b", "c", "d"])
    assert page.locator(".open table[data-same] td").count() == 3
    gates[2].release()
    wait_for_end(page)
    expect(page.locator(".done td")).to_have_text(["b", "c", "d"])


def test_columns_of_a_table_are_aligned(page: Page, upstream: RunningUpstream) -> None:
    upstream.answer_with("| a | b | c |\n|:--|:-:|--:|\n| 1 | 2 | 3 |\n")
    say(page, "Go")
    wait_for_end(page)
    aligned = page.locator(".done td").evaluate_all(
        "cells => cells.map((c) => getComputedStyle(c).textAlign)"
    )
    assert aligned == ["left", "center", "right"]


MIXED = [
    *("An English paragraph.\n\n", "פסקה בעברית עם `code()`.\n\n", "- one\n- שתיים\n\n"),
    *("> ציטוט\n\n", "```\nשלום\n```\n\n", "| מילה | word |\n|---|---|\n| שלום | hello |\n\n", "סוף"),
]


def test_each_block_runs_in_the_direction_of_its_text(page: Page, upstream: RunningUpstream) -> None:
    upstream.answer_with(*MIXED, upstream.hold(), ".")
    say(page, "Go")
    expect(page.locator(".open")).to_contain_text("סוף")
    directions = """blocks => blocks.map(
        (block) => `${block.localName} ${getComputedStyle(block).direction}`)"""
    blocks = page.locator(".prose :is(p, li, blockquote, table, th, td, code)")
    expected = [
        *("p ltr", "p rtl", "code ltr", "li ltr", "li rtl", "blockquote rtl", "p rtl", "code ltr"),
        *("table rtl", "th rtl", "th ltr", "td rtl", "td ltr", "p rtl"),
    ]
    assert blocks.evaluate_all(directions) == expected
    upstream.release()
    wait_for_end(page)
    assert blocks.evaluate_all(directions) == expected
    # The marker of a list item stands on the side where its text begins.
    left, right = page.locator(".done li").evaluate_all(
        "items => items.map((item) => [item.offsetLeft, item.offsetLeft + item.offsetWidth])"
    )
    assert left[0] > right[0]
    assert left[1] > right[1]


def test_times_are_in_the_browsers_time_zone_and_in_chinese_with_24_hours(
    new_context: Callable[..., BrowserContext], upstream: RunningUpstream
) -> None:
    page = new_context(timezone_id="Asia/Kathmandu").new_page()
    sign_up(page)
    page.goto("/account/")
    expect(page.get_by_role("link", name="Time zone")).to_contain_text("Asia/Kat")
    page.goto("/")
    page.locator(".user-button").click()
    page.get_by_role("button", name="繁體中文").click()
    page.wait_for_selector("html[lang=zh-hant]")
    say(page, "Go")
    wait_for_end(page)
    expect(page.locator(".message--assistant time")).to_have_text(
        re.compile(r"^\d{4}年\d+月\d+日 \d\d:\d\d$")
    )
    expect(page.locator(".message--assistant time")).to_have_attribute("datetime", re.compile(r"\+05:45$"))
