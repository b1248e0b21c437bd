"""Tests that neither the key nor the prompt gets into an error or a log, even if the upstream returns both."""

import logging
import traceback

import httpx
import orjson
import pytest

from conversations.llm.errors import UpstreamError
from conversations.server.management.fake_answers import event
from tests.fakes import End, Page, RunningUpstream, Script
from tests.llm.conftest import KEY, PROMPT, ClientFactory, RawServer, ask, collect


def echo(text: str) -> bytes:
    return orjson.dumps({"error": {"message": text, "type": text, "code": text, "param": text}})


SECRETS = f"{KEY} {PROMPT}"


@pytest.mark.parametrize(
    "response",
    [
        pytest.param("unauthorized", id="401 of the fake, which echoes both"),
        pytest.param(Page(status=400, body=echo(SECRETS)), id="400"),
        pytest.param(Page(status=500, body=SECRETS.encode()), id="500"),
        pytest.param(Page(status=302, headers={"Location": f"http://127.0.0.1/{KEY}"}), id="redirect"),
        pytest.param(Page(status=429, body=echo(SECRETS), headers={"Retry-After": SECRETS}), id="429"),
        pytest.param(Page(body=SECRETS.encode()), id="no JSON"),
        pytest.param(Page(body=SECRETS.encode(), headers={"Content-Type": "text/html"}), id="page"),
        pytest.param(Page(headers={"Content-Type": SECRETS}), id="header"),
        pytest.param(Page(headers={"Content-Encoding": SECRETS}), id="encoding"),
        pytest.param(Script(steps=("Hi", event(orjson.loads(echo(SECRETS))))), id="error in the stream"),
        pytest.param(
            Script(steps=("Hi", f"data: {SECRETS}\n\n".encode() * 9)), id="broken JSON in the stream"
        ),
        pytest.param(Script(steps=("Hi", SECRETS.encode(), End.CUT)), id="cut"),
        pytest.param(Script(steps=("Hi", f"data: {SECRETS}".encode() * 50)), id="long line"),
    ],
)
async def test_errors_reveal_neither_the_key_nor_the_prompt(
    upstream: RunningUpstream,
    make_client: ClientFactory,
    transport: httpx.AsyncBaseTransport | None,
    caplog: pytest.LogCaptureFixture,
    response: Page | Script | str,
):
    # At DEBUG level, httpcore itself logs response headers. The default transport doesn't.
    caplog.set_level(logging.DEBUG if transport is None else logging.INFO)
    for _ in range(3):
        upstream.respond_with(response)
    client = make_client(transport=transport, max_line_bytes=1000)
    request = ask(model="fault-unauthorized") if response == "unauthorized" else ask()
    _, error = await collect(client, request)
    assert_is_clean(error, caplog)


@pytest.mark.parametrize(
    "head",
    [
        pytest.param("{} HTTP/1.1 200 OK\r\n\r\n", id="status line"),
        pytest.param("HTTP/1.1 200 {}\r\nX\r\n\r\n", id="reason"),
        pytest.param("HTTP/1.1 200 OK\r\n{}: \0\r\n\r\n", id="header"),
        pytest.param("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", id="length"),
    ],
)
async def test_invalid_http_reveals_nothing_either(
    make_client: ClientFactory,
    transport: httpx.AsyncBaseTransport | None,
    raw_server: RawServer,
    caplog: pytest.LogCaptureFixture,
    head: str,
):
    caplog.set_level(logging.DEBUG if transport is None else logging.INFO)
    base_url = await raw_server(head.format(SECRETS).encode())
    _, error = await collect(make_client(transport=transport, base_url=base_url), ask())
    assert_is_clean(error, caplog)


def assert_is_clean(error: UpstreamError | None, caplog: pytest.LogCaptureFixture) -> None:
    """Check the error, everything it is chained to, and the log."""
    assert error is not None
    seen = "".join(traceback.format_exception(error)) + caplog.text
    chain: list[BaseException | None] = [error]
    while chain:
        link = chain.pop()
        if link is not None:
            seen += f"{link} {link!r} {link.args} {vars(link)}"
            chain += [link.__cause__, link.__context__]
    for record in caplog.records:
        seen += str(vars(record))
    assert str(error.code) in seen
    assert KEY not in seen
    assert PROMPT not in seen
