"""The site listens on the address that it prints."""

import socket
from pathlib import Path

import httpx
import pytest

from conversations.server.management.addresses import listening_hosts
from tests.site import Process, Site


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


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        web = Process("serve", env=Site(tmp_path / "data", PORT=port).settings)
        web.wait_for(rf"Can't listen on localhost:{port}\. Another program may be using it\.")
        assert web.popen.wait(20) == 1
        web.end()
