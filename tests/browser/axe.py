"""Check pages with axe."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

SETTLED = """() => Promise.allSettled(
    document.getAnimations().filter((a) => a.effect.getTiming().iterations !== Infinity).map((a) => a.finished)
)"""


def check(page: Page) -> None:
    """Check the page with axe, once all animations have ended."""
    page.evaluate(SETTLED)
    found = Axe().run(page)
    assert not found.response["violations"], found.generate_report()
