"""Test `./dev`: the site with a fake model, started again when the code changes."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.site import ROOT, Process, descendants, wait_until

STARTED = r"Chat: +(http://localhost:\d+)/"


@pytest.fixture
def development(tmp_path: Path) -> Iterator[Process]:
    process = Process("dev", env={"DATA_DIR": str(tmp_path / "data"), "PORT": "0"})
    yield process
    process.end(signal.SIGKILL)


def test_the_site_starts_with_a_fake_model_and_restarts_after_a_change(development: Process) -> None:
    development.wait_for(r"Model: +fake \(http://127\.0\.0\.1:\d+/v1\)")
    development.wait_for(STARTED)
    os.utime(ROOT / "conversations" / "chat" / "views.py")
    development.wait_for(rf"(?s){STARTED}.*{STARTED}")
    group = descendants(development.popen.pid)
    assert len(group) >= 3
    assert development.end(signal.SIGINT) in {0, -signal.SIGTERM}
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in group))
