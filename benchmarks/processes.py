"""The processes of a benchmark, and their CPU and memory."""

import contextlib
import ctypes
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self

ROOT = Path(__file__).resolve().parent.parent


class Process:
    """A process that reports its progress on standard output and ends when its standard input does."""

    def __init__(
        self, *arguments: str, environment: dict[str, str] | None = None, log: Path | None = None
    ) -> None:
        with (log or Path(os.devnull)).open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors if log else None,
                text=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(30)

    def say(self, line: str) -> None:
        """Send a line."""
        print(line, file=self._pipe(self._process.stdin), flush=True)

    def hear(self, beginning: str = "") -> str:
        """Return the next line with this beginning. Raises RuntimeError if the process ends first."""
        for line in self._pipe(self._process.stdout):
            if line.startswith(beginning):
                return line.strip()
        raise RuntimeError(f"{self._process.args!r} ended before it was ready.")

    def hear_last(self) -> str:
        """Close standard input and return the last line."""
        output, _errors = self._process.communicate(timeout=120)
        return output.strip().splitlines()[-1]

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe

    @property
    def cpu_ms(self) -> float:
        """User and system time so far of the process, its threads and its children, in milliseconds."""
        return sum(_cpu_ms(pid) for pid in self._family())

    @property
    def memory_kb(self) -> int:
        """Resident memory of the process and its children, in kB."""
        return sum(_memory_kb(pid) for pid in self._family())

    def _family(self) -> list[int]:
        return [self._process.pid, *_descendants(self._process.pid)]


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        # A thread can end in between.
        with contextlib.suppress(OSError):
            for child in task.read_text().split():
                found += [int(child), *_descendants(int(child))]
    return found


def _cpu_ms(pid: int) -> float:
    """Return the CPU time of a process and of its ended children; 0 if it has just ended itself."""
    # The scheduler's own clock of the process. /proc/PID/task/*/schedstat lacks the threads that have ended, and
    # /proc/PID/stat is rounded to 10 ms.
    clock = ctypes.c_int()
    if ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock)):
        return 0.0
    try:
        own = time.clock_gettime(clock.value) * 1000
        # proc(5): the name in parentheses can contain spaces. cutime and cstime are fields 16 and 17.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return own + (int(fields[13]) + int(fields[14])) * 1000 / os.sysconf("SC_CLK_TCK")


def _memory_kb(pid: int) -> int:
    """Return the resident memory of a process; 0 if it has just ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")), 0)


class MemoryPeak:
    """The peak resident memory of a process during a block, in kB, sampled ten times a second."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.kb = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.1):
            self.kb = max(self.kb, self._process.memory_kb)


def wait_until_quiet(process: Process) -> None:
    """Wait until the process has used almost no CPU for half a second, at most ten seconds."""
    end = time.monotonic() + 10
    before = process.cpu_ms
    while time.monotonic() < end:
        time.sleep(0.5)
        now = process.cpu_ms
        if now - before <= 20:
            return
        before = now
