"""The life of a report, from filing to an overturned decision, with three people in three browsers.

Also takes the screenshots for docs/reviewing.md. See `picture`.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable

from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import begin, log_in, picture, query, say, wait_for_end
from tests.fakes import RunningUpstream
from tests.review.helpers import QUEUE
from tests.site import PASSWORD, ROOT, Site, wait_until

_STAFF = """
import django
django.setup()
from django.contrib.auth.models import Group
from conversations.accounts.models import User
user = User.objects.create_user("{name}", password="{password}", is_staff=True)
user.groups.add(Group.objects.get(name="{group}"))
"""


def make_staff(site: Site, name: str, group: str) -> None:
    kept = {setting: os.environ[setting] for setting in ("PATH", "HOME") if setting in os.environ}
    env = {**kept, **site.settings}
    code = _STAFF.format(name=name, password=PASSWORD, group=group)
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, check=True, capture_output=True)


def report(page: Page, category: str, comment: str) -> str:
    """Report the latest answer and return the reference number."""
    page.locator(".status__report").last.click()
    form = page.locator("form.report")
    form.get_by_label(category).check()
    form.locator("textarea").fill(comment)
    picture(page, "report")
    form.get_by_role("button", name="Send report").click()
    thanks = page.locator(".report--thanks").last
    expect(thanks).to_be_visible()
    found = re.search(r"P-[A-Z2-9]{4}-[A-Z2-9]{4}", thanks.inner_text())
    assert found
    return found.group()


def open_case(page: Page, reference: str) -> None:
    page.goto(f"{QUEUE}?q={reference}")
    page.locator("#result_list tbody a").first.click()
    expect(page.locator("body")).to_contain_text(reference)


def test_from_a_report_to_an_overturned_decision(
    new_context: Callable[..., BrowserContext], site: Site, upstream: RunningUpstream
) -> None:
    make_staff(site, "rosa", "Review leads")
    make_staff(site, "ravi", "Reviewers")
    size = {"width": 1440, "height": 900}

    # A user reports an answer and leaves the page open.
    page = new_context(viewport=size).new_page()
    page.goto("/accounts/signup/")
    page.get_by_label("Username").fill("reporter")
    page.get_by_label(re.compile("mail", re.IGNORECASE)).first.fill("reporter@example.org")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password (again)").fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    begin(page)
    upstream.answer_with("Mix *both* and breathe in.")
    say(page, "How do I clean my bath?")
    wait_for_end(page)
    reference = report(page, "Harmful or dangerous", "That makes a poisonous gas.")

    # A reviewer claims the case, and a second one is refused.
    rosa = new_context(viewport=size).new_page()
    log_in(rosa, "rosa", f"/accounts/login/?next={QUEUE}")
    expect(rosa.locator("#result_list")).to_contain_text("Mix")
    picture(rosa, "queue")
    open_case(rosa, reference)
    ravi = new_context(viewport=size).new_page()
    log_in(ravi, "ravi", f"/accounts/login/?next={QUEUE}")
    open_case(ravi, reference)
    rosa.get_by_role("button", name="Claim").click()
    expect(rosa.locator("#claim")).to_contain_text("You're working on this case.")
    ravi.get_by_role("button", name="Claim").click()
    expect(ravi.locator("body")).to_contain_text("rosa")
    expect(ravi.get_by_role("button", name="Decide", exact=True)).to_have_count(0)

    # She hides the answer. The open page updates, and the reporter gets an email.
    rosa.get_by_label("Uphold: the report is justified").check()
    rosa.get_by_label("Reason (visible to staff only)").fill("Chlorine gas: policy on harmful answers.")
    rosa.get_by_label("Hide the answer").check()
    rosa.get_by_label("Reply preset").select_option(label="Upheld, hidden")
    expect(rosa.locator("#would")).to_contain_text("a notice instead of the answer")
    picture(rosa, "case")
    rosa.get_by_role("button", name="Decide", exact=True).click()
    expect(page.locator(".message--assistant")).to_contain_text("Staff have hidden this answer")
    expect(page.locator("body")).not_to_contain_text("breathe in")
    wait_until(lambda: f"Decision on your report {reference}" in site.web.output)
    page.goto("/reports/")
    page.get_by_role("link", name=reference).click()
    expect(page.locator("main")).to_contain_text("Your report was upheld.")
    expect(page.locator("main")).to_contain_text("have hidden the answer")

    # Another report is dismissed. The reporter appeals, and the decision is overturned.
    page.goto("/")
    upstream.answer_with("Two and two is five.")
    say(page, "Sum?")
    wait_for_end(page)
    second = report(page, "Incorrect", "It is four.")
    conversation = page.url
    open_case(ravi, second)
    ravi.get_by_role("button", name="Claim").click()
    ravi.get_by_label("Dismiss: there is no problem").check()
    ravi.get_by_label("Reason (visible to staff only)").fill("Looks right.")
    ravi.get_by_role("button", name="Decide", exact=True).click()
    wait_until(lambda: f"Decision on your report {second}" in site.web.output)
    page.goto("/reports/")
    page.get_by_role("link", name=second).click()
    page.get_by_label("Why do you disagree?").fill("Count your fingers.")
    picture(page, "appeal")
    page.get_by_role("button", name="Appeal").click()
    expect(page.locator("main")).to_contain_text("appeal under review")
    page.goto(conversation)
    open_case(rosa, second)
    expect(rosa.locator("body")).to_contain_text("Count your fingers.")
    rosa.get_by_role("button", name="Claim").click()
    rosa.get_by_label("Uphold: the report is justified").check()
    rosa.get_by_label("Reason (visible to staff only)").fill("Arithmetic.")
    rosa.get_by_label(re.compile("vetted text")).fill("Two and two is **four**.")
    rosa.get_by_role("button", name="Decide", exact=True).click()
    expect(page.locator(".message--assistant strong")).to_have_text("four")
    page.goto("/reports/")
    page.get_by_role("link", name=second).click()
    expect(page.locator("main")).to_contain_text("appeal granted")
    assert query(site, "SELECT count(*) FROM review_reviewevent WHERE is_overturn")[0][0] == 1
