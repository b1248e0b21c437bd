"""The server's background jobs."""

import asyncio
import ctypes
import datetime as dt
import gc
import subprocess
import sys

import pytest
from django.conf import LazySettings
from django.core import mail
from django.utils import timezone

from conversations.accounts.models import User
from conversations.catalogue.models import ChatModel
from conversations.review.models import ReviewCase
from conversations.review.services import reviewing
from conversations.server.jobs import housekeeping, memory
from tests.factories import LEAD, make_reports, make_staff
from tests.site import ROOT

HOUR = dt.timedelta(hours=1)


@pytest.fixture
def lead(db: None, model: ChatModel, settings: LazySettings) -> User:
    settings.REVIEW_REMINDER_HOURS = 24
    return make_staff("lead", *LEAD)


@pytest.mark.django_db(transaction=True)
def test_the_server_sends_reminders_and_releases_lapsed_claims(lead: User) -> None:
    [filed] = make_reports(1)
    now = timezone.now()
    reviewing.claim(staff=lead, case=filed.case.uuid, version=None, now=now - HOUR)
    ReviewCase.objects.update(opened_at=now - 25 * HOUR)
    for _time in range(2):
        asyncio.run(housekeeping.run_once())
        assert len(mail.outbox) == 1
    case = ReviewCase.objects.get()
    assert (case.status, case.claimed_by) == ("open", None)


@pytest.mark.django_db(transaction=True)
def test_a_failing_job_is_logged_and_the_others_still_run(
    lead: User, settings: LazySettings, caplog: pytest.LogCaptureFixture
) -> None:
    [filed] = make_reports(1)
    reviewing.claim(staff=lead, case=filed.case.uuid, version=None, now=timezone.now() - HOUR)
    settings.REVIEW_REMINDER_HOURS = "many"
    asyncio.run(housekeeping.run_once())
    noted = [record.getMessage() for record in caplog.records if record.name == housekeeping.__name__]
    assert noted == ["Housekeeping (remind) failed: TypeError"]
    assert ReviewCase.objects.get().claimed_by is None


async def test_the_jobs_stop_when_cancelled() -> None:
    task = housekeeping.start()
    await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_memory_is_released_until_the_job_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "INTERVAL_SECONDS", 0)
    collected = asyncio.Event()
    loop = asyncio.get_running_loop()

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "stop" and info["generation"] == 2:
            loop.call_soon_threadsafe(collected.set)

    gc.callbacks.append(note)
    try:
        task = memory.start()
        await asyncio.wait_for(collected.wait(), timeout=30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    finally:
        gc.callbacks.remove(note)


# Prints statistics of each heap after four threads have allocated memory at the same time.
HEAPS = """
import ctypes, threading
from conversations.server.jobs import memory
{call}
together = threading.Barrier(4)
def allocate():
    kept = [bytearray(2_000) for _ in range(100)]
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
ctypes.CDLL(None).malloc_stats()
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_stats"), reason="This C library has one heap.")
@pytest.mark.parametrize(("call", "is_one"), [("memory.use_one_heap()", True), ("", False)])
def test_all_threads_share_one_heap(call: str, is_one: bool) -> None:
    code = HEAPS.format(call=call)
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={}, check=True, capture_output=True, text=True
    )
    assert (found.stderr.count("Arena ") == 1) is is_one
