"""The scripts of the case page and the queue, in a browser and under the Content-Security-Policy."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import log_in, query
from tests.fakes import RunningUpstream
from tests.review.helpers import QUEUE
from tests.site import ROOT, Site

_FILE = """
import django
django.setup()
from tests.factories import make_reports
make_reports({count})
"""


def file_cases(site: Site, count: int) -> None:
    """File reports in the running site's database from another process."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    env = {**kept, **site.settings, "DJANGO_SETTINGS_MODULE": "chatsite.settings"}
    code = _FILE.format(count=count)
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, check=True, capture_output=True)


@pytest.fixture
def desk(
    new_context: Callable[..., BrowserContext], site: Site, upstream: RunningUpstream, problems: list[str]
) -> Iterator[Page]:
    """Return a page where the administrator has claimed a case."""
    file_cases(site, 1)
    page = new_context(viewport={"width": 1280, "height": 800}).new_page()
    log_in(page, path=QUEUE)
    page.get_by_role("button", name="Take the next case").click()
    expect(page.locator("#claim")).to_contain_text("You're working on this case.")
    yield page
    assert problems == []


def test_the_preview_updates_with_the_form(desk: Page) -> None:
    would = desk.locator("#would")
    desk.get_by_label("Uphold: the report is justified").check()
    expect(would).to_contain_text("1 report: upheld.")
    expect(would).to_contain_text("Give a reason before you decide.")
    desk.get_by_label("Hide the answer").check()
    expect(would).to_contain_text("a notice instead of the answer")
    desk.get_by_label("Reply preset").select_option(label="Upheld, hidden")
    expect(desk.get_by_label("Reply to the reporters")).to_have_value(
        "Thank you for your report. We agree, and have hidden the answer."
    )
    desk.get_by_label("Dismiss: there is no problem").check()
    expect(would).to_contain_text("A dismissed report can't hide the answer")
    expect(desk.get_by_label("Reply to the reporters")).to_have_value("")


def test_typing_extends_the_claim(desk: Page, site: Site) -> None:
    sql = "SELECT claim_expires_at FROM review_reviewcase WHERE claim_expires_at IS NOT NULL ORDER BY 1"
    before = query(site, sql)
    desk.get_by_label("Reason (visible to staff only)").press_sequentially("So")
    # The page extends a claim at most once a minute, so move its clock forward.
    desk.evaluate("Date.now = ((now) => () => now() + 61_000)(Date.now.bind(Date))")
    with desk.expect_response("**/extend/") as answered:
        desk.get_by_label("Reason (visible to staff only)").press_sequentially("x")
    assert answered.value.status == 200
    assert query(site, sql) > before


def test_a_rerun_appears_without_reloading(desk: Page, upstream: RunningUpstream) -> None:
    upstream.answer_with("A *new* ", upstream.hold(), "answer.")
    desk.get_by_role("button", name="Rerun the prompt").click()
    expect(desk.locator("#rerun .rerun em")).to_have_text("new")
    upstream.release()
    expect(desk.locator("#rerun .rerun")).to_contain_text("answer.")
    expect(desk.locator("#rerun [hx-get]")).to_have_count(0)


def test_new_cases_are_announced(desk: Page, site: Site) -> None:
    desk.goto(QUEUE)
    file_cases(site, 2)
    expect(desk.locator("#queue-news")).to_contain_text("2 new cases – show them")
    desk.locator("#queue-news a").click()
    expect(desk.locator("#queue-news a")).to_have_count(0)
