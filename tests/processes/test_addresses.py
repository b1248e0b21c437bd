"""The site listens on the address that it prints."""

import socket
from pathlib import Path

import httpx
import pytest

from conversations.server.management.commands.serve import listening_hosts
from tests.site import Site


@pytest.mark.parametrize("port", ["0", "fixed"])
def test_localhost_works_however_it_is_resolved(tmp_path: Path, port: str) -> None:
    if port == "fixed":
        with socket.create_server(("127.0.0.1", 0)) as unused:
            port = str(unused.getsockname()[1])
    site = Site(tmp_path / "data", PORT=port).start()
    try:
        shown = httpx.URL(site.address)
        assert shown.host == "localhost"
        assert shown.port is not None
        for host in (shown.host, *listening_hosts("localhost", int(port))):
            literal = f"[{host}]" if ":" in host else host
            assert httpx.get(f"http://{literal}:{shown.port}/accounts/login/").status_code == 200
    finally:
        site.web.end()
