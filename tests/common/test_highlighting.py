"""Tests for highlighting code in a child process that no text can block and that never outlives the site."""

import ast
import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conversations.common.rendering import highlighting
from conversations.common.rendering.highlighting import highlight
from tests.site import ROOT, wait_until

SLOW = "s{" * 9_000
"""Perl code that takes the lexer many seconds."""


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow as little time as a real page does, for the one test of what happens then."""
    highlight("1", language="python")
    monkeypatch.setattr(highlighting, "TIME_LIMIT_SECONDS", 0.2)


def test_code_is_highlighted_by_the_name_of_its_language() -> None:
    assert '<span class="hl-k">def</span>' in (highlight("def f(): pass", language="Python") or "")


@pytest.mark.parametrize("language", ["", "no-such-language", "python" * 100])
def test_code_without_a_known_language_stays_plain(language: str) -> None:
    assert highlight("def f(): pass", language=language) is None


def test_slow_code_stays_plain_and_is_not_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    highlight("2", language="python")
    with monkeypatch.context() as patch:
        patch.setattr(highlighting, "TIME_LIMIT_SECONDS", 0.2)
        highlight(SLOW, language="perl")
    # The page may have stopped waiting just before the result. The next request waits its turn.
    assert highlight("3", language="python")
    child = highlighting._child._process
    assert highlight(SLOW, language="perl") is None
    assert highlight("4", language="python")
    # If it had been tried, the process would have been replaced.
    assert highlighting._child._process is child


def test_the_wait_limit_is_for_all_code_on_a_page(hurried: None) -> None:
    with highlighting.shared_wait() as wait:
        for number in range(3):
            highlight(SLOW + str(number), language="perl")
        assert wait.seconds_left <= 0
        assert highlight("x = 'too late'", language="python") is None
    assert wait.missed >= 3


async def test_the_event_loop_does_not_wait() -> None:
    assert highlight("x = 'in the loop'", language="python") is None


async def test_the_event_loop_gets_cached_results() -> None:
    await asyncio.to_thread(highlight, "x = 'known'", language="python")
    assert highlight("x = 'known'", language="python")


def test_the_child_is_restarted_after_it_died() -> None:
    highlight("5", language="python")
    child = highlighting._child._process
    assert child is not None
    child.kill()
    child.wait()
    assert highlight("6", language="python")


def test_the_child_imports_only_pygments() -> None:
    tree = ast.parse(highlighting._CHILD.read_text())
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or "."]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported - set(sys.stdlib_module_names) == {"pygments"}


SCRIPT = """
import sys, threading, time
from conversations.common.rendering import highlighting
assert highlighting._child._process is None
highlighting.highlight("1", language="python")
print(highlighting._child._process.pid, flush=True)
if sys.argv[1:]:
    highlighting.TIME_LIMIT_SECONDS = 2
    threading.Thread(target=highlighting.highlight, args=["s{" * 9_000], kwargs={"language": "perl"}).start()
    time.sleep(0.2)
    print("busy", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("state", ["idle", "busy"])
def test_the_child_ends_with_a_parent_that_is_killed(state: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *(["busy"] if state == "busy" else [])],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    if state == "busy":
        assert parent.stdout.readline() == "busy\n"
    assert _runs(child)
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    wait_until(lambda: not _runs(child), what="the child to end")


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
