"""The supervisor, with small scripts instead of web processes."""

import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from conversations.server.management import supervisor
from conversations.server.management.supervisor import Supervisor

READY = "import os, signal, sys, time; os.write(0, b'ready\\n');"
UNTIL_STOPPED = f"{READY} signal.sigwait({{signal.SIGTERM}})"


def supervise(*scripts: str, folder: Path, when_ready: Callable[[], None] = lambda: None) -> Supervisor:
    """Return a supervisor with one process for each script. A process notes its start in a file of the folder."""
    note = f"open(r'{folder}/' + os.environ['SLOT'], 'a').write(f'{{os.getpid()}}\\n');"
    code = f"import os; {note} exec(os.environ['SCRIPT'])"
    return Supervisor(
        [sys.executable, "-c", code],
        environments=[{"SLOT": str(slot), "SCRIPT": script} for slot, script in enumerate(scripts)],
        bind=list,
        when_ready=when_ready,
    )


def started(folder: Path, slot: int) -> list[int]:
    """Return the process IDs of all processes that one slot has had."""
    return [int(line) for line in (folder / str(slot)).read_text(encoding="ascii").splitlines()]


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


async def test_the_site_is_ready_once_when_all_processes_are(tmp_path: Path) -> None:
    said: list[str] = []

    def ready() -> None:
        said.append("ready")
        (tmp_path / "said").touch()

    # Once the site has said that it is ready, the second process stops it.
    second = (
        f"{READY} wait = lambda name: [None for _ in iter(lambda: os.path.exists(r'{tmp_path}/' + name), True)];"
        "wait('said'); os.kill(os.getppid(), signal.SIGTERM); signal.sigwait({signal.SIGTERM})"
    )
    assert await supervise(UNTIL_STOPPED, second, folder=tmp_path, when_ready=ready).run()
    assert said == ["ready"]


async def test_a_process_that_never_works_ends_the_site(tmp_path: Path) -> None:
    assert not await supervise(UNTIL_STOPPED, "raise SystemExit(3)", folder=tmp_path).run()
    assert len(started(tmp_path, 1)) == 1


async def test_processes_that_end_are_replaced_after_a_growing_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(supervisor, "MAX_PAUSE_SECONDS", 0.03)
    # Ends at once until it has been started often enough.
    script = (
        f"{READY} starts = open(r'{tmp_path}/0').read().count('\\n');"
        "sys.exit(7) if starts < 5 else os.kill(os.getppid(), signal.SIGTERM); signal.sigwait({signal.SIGTERM})"
    )
    with caplog.at_level(logging.ERROR):
        assert await supervise(script, folder=tmp_path).run()
    assert [record.getMessage() for record in caplog.records] == [
        f"A web process ended with exit code 7. Another one starts in {pause} seconds."
        for pause in (0.01, 0.02, 0.03, 0.03)
    ]


async def test_a_process_that_does_not_stop_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervisor, "STOP_SECONDS", 0.1)
    stubborn = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {READY} time.sleep(600)"
    assert await supervise(stubborn, UNTIL_STOPPED, folder=tmp_path, when_ready=stop).run()
    assert "1 web processes did not stop" in caplog.text
    assert not any(map(is_running, started(tmp_path, 0)))
