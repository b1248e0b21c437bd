"""Fixtures for tests of the real site in Debian's Chromium, driven by Playwright in a separate pytest process."""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect

from tests.fakes import RunningUpstream, running_upstream
from tests.site import ADMIN, PASSWORD, Site

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


# This is only the time to wait before giving up. On a busy machine a commit to disk alone can take seconds.
expect.set_options(timeout=20_000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if CHROMIUM is None:
        skip = pytest.mark.skip(reason="No Chromium is installed (Debian: apt-get install chromium).")
        for item in items:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def browser(playwright: Playwright) -> Iterator[Browser]:
    browser = playwright.chromium.launch(
        executable_path=CHROMIUM,
        args=[
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ],
    )
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def _upstream() -> Iterator[RunningUpstream]:
    with running_upstream() as running:
        yield running


@pytest.fixture
def upstream(_upstream: RunningUpstream) -> Iterator[RunningUpstream]:
    _upstream._queue.clear()
    yield _upstream
    _upstream.release()
    _upstream.fault = ""
    _upstream.rate = 0


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, _upstream: RunningUpstream) -> Iterator[Site]:
    """Start one site for all tests of a run. Tests that need a user of their own sign one up."""
    started = Site(
        tmp_path_factory.mktemp("site") / "data",
        OPENAI_BASE_URL=_upstream.base_url,
        CHAT_SENDS_PER_MINUTE="1000",
        LOGIN_RATE_LIMIT="1000/m/ip",
        SIGNUP_RATE_LIMIT="1000/m/ip",
    ).start()
    yield started
    started.web.end()


@pytest.fixture
def problems() -> list[str]:
    """Return the list of the browser's complaints, which must stay empty."""
    return []


@pytest.fixture
def new_context(browser: Browser, site: Site, problems: list[str]) -> Iterator[Callable[..., BrowserContext]]:
    """Return a factory of browser contexts that add their errors and warnings to `problems`."""
    contexts = []

    def make(**options: Any) -> BrowserContext:
        context = browser.new_context(base_url=site.address, **options)
        context.set_default_timeout(20_000)
        context.on("console", lambda m: problems.append(m.text) if m.type in {"error", "warning"} else None)
        context.on("weberror", lambda e: problems.append(str(e.error)))
        contexts.append(context)
        return context

    yield make
    for context in contexts:
        context.close()


_count = 0


@pytest.fixture
def page(new_context: Callable[..., BrowserContext], site: Site, problems: list[str]) -> Iterator[Page]:
    """Open a page of a newly signed-up user, and fail if the browser has complained by the end."""
    page = new_context(viewport={"width": 1280, "height": 800}).new_page()
    sign_up(page)
    yield page
    assert problems == []


def sign_up(page: Page) -> str:
    global _count
    _count += 1
    name = f"person{_count}"
    page.goto("/accounts/signup/")
    page.locator("[name=username]").fill(name)
    page.locator("[name=password1]").fill(PASSWORD)
    page.locator("[name=password2]").fill(PASSWORD)
    page.locator("[name=password2]").press("Enter")
    begin(page)
    return name


def begin(page: Page) -> None:
    """Accept the terms, which come before the first chat."""
    page.locator("main form .button--primary").click()
    page.wait_for_selector("#text")


def log_in(page: Page, name: str = ADMIN, path: str = "/accounts/login/") -> None:
    page.goto(path)
    page.locator("[name=login]").fill(name)
    page.locator("[name=password]").fill(PASSWORD)
    page.locator("[name=password]").press("Enter")


def say(page: Page, text: str) -> None:
    # Before the script has run, Enter starts a new line.
    page.wait_for_load_state()
    page.locator("#text").fill(text)
    page.locator("#text").press("Enter")


def wait_for_end(page: Page) -> None:
    page.wait_for_selector("#thread .message--assistant")
    page.wait_for_selector(".open", state="detached")


def answer_in(page: Page) -> str:
    return page.locator("#thread .message--assistant .done").last.inner_text()


def query(site: Site, sql: str, *values: Any) -> list[Any]:
    with closing(sqlite3.connect(Path(site.settings["DATA_DIR"]) / "chat.sqlite3")) as database:
        return database.execute(sql, values).fetchall()


def picture(page: Page, name: str) -> None:
    """Save a screenshot for the documentation if DOCS_IMAGES names a folder (docs/images)."""
    if folder := os.environ.get("DOCS_IMAGES"):
        page.screenshot(path=Path(folder) / f"{name}.png")
