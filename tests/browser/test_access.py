"""Test access in a real browser: as a guest, with an invitation, after approval, and when a preview ends.

Also takes the screenshots for docs/access.md; see `picture`.
"""

import datetime as dt
import re
import secrets
import sqlite3
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import answer_in, begin, log_in, picture, query, say, sign_up, wait_for_end
from tests.fakes import RunningUpstream
from tests.site import ADMIN, PASSWORD, Site

CODE_LETTERS = "ABCDEFGHJKMNPQRSTVWXYZ23456789"


def violations(page: Page) -> list[str]:
    return [rule["id"] for rule in Axe().run(page).response["violations"]]


def execute(site: Site, sql: str, *values: Any) -> int:
    path = Path(site.settings["DATA_DIR"]) / "chat.sqlite3"
    with closing(sqlite3.connect(path, timeout=20)) as database, database:
        return int(database.execute(sql, values).lastrowid or 0)


def in_days(days: float) -> str:
    return (dt.datetime.now(dt.UTC) + dt.timedelta(days=days)).strftime("%Y-%m-%d %H:%M:%S")


def make_preview(
    site: Site, *, name: str, guest_messages: int = 2, total: int | None = None
) -> tuple[int, str]:
    """Create a preview that allows guests, and return its ID and public ID."""
    public_id = uuid.uuid4()
    pk = execute(
        site,
        "INSERT INTO access_preview (uuid, name, welcome, starts_at, ends_at, messages_total, email_domains, "
        "allows_guests, guest_messages, is_enabled, created_at) VALUES (?, ?, ?, ?, ?, ?, '', 1, ?, 1, ?)",
        public_id.hex,
        name,
        "Welcome to **our preview**.",
        in_days(-1),
        in_days(1),
        total,
        guest_messages,
        in_days(0),
    )
    return pk, str(public_id)


def make_code(site: Site, preview: int, *, uses: int = 1) -> str:
    code = "".join(secrets.choice(CODE_LETTERS) for _ in range(12))
    execute(
        site,
        "INSERT INTO access_invitation (uuid, preview_id, code, label, email, uses_allowed, uses, created_at) "
        "VALUES (?, ?, ?, '', '', ?, 0, ?)",
        uuid.uuid4().hex,
        preview,
        code,
        uses,
        in_days(0),
    )
    return code


def set_signup(site: Site, mode: str) -> None:
    execute(
        site,
        "INSERT INTO access_siteaccess (id, signup) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET signup = ?",
        mode,
        mode,
    )


def fill_sign_up(page: Page, name: str) -> None:
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password (again)").fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()


def test_a_guest_reaches_the_limit_and_signs_up_with_an_invitation(
    new_context: Callable[..., BrowserContext], site: Site, upstream: RunningUpstream
) -> None:
    preview, public_id = make_preview(site, name="Spring")
    code = make_code(site, preview)
    set_signup(site, "invitation")
    page = new_context(viewport={"width": 390, "height": 800}).new_page()
    page.goto(f"/preview/{public_id}/")
    expect(page.locator(".prose strong")).to_have_text("our preview")
    assert violations(page) == []
    page.get_by_role("button", name="Continue as a guest").click()
    assert violations(page) == []
    begin(page)
    expect(page.locator("#use")).to_contain_text("2 messages left")
    picture(page, "preview")
    upstream.answer_with("First answer.")
    say(page, "First question")
    wait_for_end(page)
    expect(page.locator("#use")).to_contain_text("1 message left")
    upstream.answer_with("Second answer.")
    say(page, "Second question")
    expect(page.locator(".message--assistant")).to_have_count(2)
    wait_for_end(page)
    expect(page.locator("#use")).to_contain_text("Use an invitation or sign in to continue")
    say(page, "My third thought")
    expect(page.locator("#composer-error")).to_contain_text("used your 2 guest messages")
    expect(page.locator("#text")).to_have_value("My third thought")
    assert violations(page) == []
    picture(page, "wall")
    address = page.url

    page.get_by_role("link", name="I have an invitation").click()
    page.get_by_label("Code").fill("WRONG")
    page.get_by_role("button", name="Continue", exact=True).click()
    expect(page.locator("[role=alert]")).to_contain_text("Invitation code not found")
    assert violations(page) == []
    page.get_by_label("Code").fill(f"{code[:4]}-{code[4:8]}-{code[8:]}".lower())
    page.get_by_role("button", name="Continue", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("You're invited")
    picture(page, "invitation")
    page.get_by_role("link", name="Sign up").click()
    fill_sign_up(page, f"invited-{code[:4].lower()}")
    expect(page).to_have_url(address)
    expect(page.locator("#use")).to_contain_text("Spring")
    expect(page.locator(".message--user")).to_have_count(2)
    expect(page.locator("#text")).to_have_value("My third thought")
    upstream.answer_with("Third answer.")
    page.locator("#text").press("Enter")
    expect(page.locator(".message--assistant")).to_have_count(3)
    wait_for_end(page)
    assert answer_in(page) == "Third answer."

    # The code allowed one use.
    other = new_context().new_page()
    other.goto(f"/join/{code}/")
    expect(other.locator("[role=alert]")).to_contain_text("no uses left")
    set_signup(site, "open")


def test_a_preview_ends_while_an_answer_is_streaming(
    new_context: Callable[..., BrowserContext], site: Site, upstream: RunningUpstream
) -> None:
    preview, public_id = make_preview(site, name="Short")
    page = new_context().new_page()
    page.goto(f"/preview/{public_id}/")
    page.get_by_role("button", name="Continue as a guest").click()
    begin(page)
    upstream.answer_with("Some text. ", upstream.hold(), "never")
    say(page, "Go")
    expect(page.locator(".open")).to_contain_text("Some text.")
    execute(site, "UPDATE access_preview SET ends_at = ? WHERE id = ?", in_days(-0.001), preview)
    expect(page.locator("#use")).to_contain_text("has ended. You can still read and export")
    expect(page.locator(".message--assistant .done")).to_contain_text("Some text.")
    expect(page.locator(".message--assistant .status")).to_contain_text("Stopped")
    upstream.release()


def test_a_pending_user_continues_once_approved(
    new_context: Callable[..., BrowserContext], site: Site
) -> None:
    set_signup(site, "approval")
    page = new_context().new_page()
    page.goto("/accounts/signup/")
    name = f"waiting-{secrets.token_hex(3)}"
    fill_sign_up(page, name)
    expect(page.get_by_role("heading", level=1)).to_have_text("Your account is awaiting approval.")
    assert violations(page) == []
    admin = new_context().new_page()
    log_in(admin, ADMIN, f"/accounts/login/?next=/admin/accounts/user/?q={name}")
    admin.get_by_role("checkbox", name=re.compile("Select this object")).check()
    admin.locator("[name=action]").select_option("approve")
    admin.get_by_role("button", name="Go").click()
    expect(admin.locator(".messagelist")).to_contain_text("1 user approved")
    begin(page)
    set_signup(site, "open")


def test_the_terms_are_shown_once(new_context: Callable[..., BrowserContext], site: Site) -> None:
    page = new_context().new_page()
    sign_up(page)
    page.reload()
    expect(page.locator("#text")).to_be_visible()
    assert query(site, "SELECT count(*) FROM access_termsacceptance")[0][0] >= 1
