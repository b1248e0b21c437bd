"""The addresses on which the server listens, and the one it tells people to open."""

import pytest
from django.conf import LazySettings

from conversations.server.management import addresses


@pytest.mark.parametrize(
    ("host", "port", "has_ipv6", "expected"),
    [
        ("localhost", 8000, True, ["127.0.0.1", "::1"]),
        ("localhost", 8000, False, ["127.0.0.1"]),
        ("localhost", 0, True, ["127.0.0.1"]),
        ("127.0.0.1", 8000, True, ["127.0.0.1"]),
        ("0.0.0.0", 8000, True, ["0.0.0.0"]),
    ],
)
def test_localhost_is_both_loopback_addresses(
    monkeypatch: pytest.MonkeyPatch, host: str, port: int, has_ipv6: bool, expected: list[str]
) -> None:
    monkeypatch.setattr(addresses, "_has_ipv6_loopback", lambda: has_ipv6)
    assert addresses.listening_hosts(host, port) == expected


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://localhost:8000"),
        ("::1", "http://localhost:8000"),
        ("0.0.0.0", "http://localhost:8000"),
        ("::", "http://localhost:8000"),
        ("192.0.2.7", "http://192.0.2.7:8000"),
        ("2001:db8::7", "http://[2001:db8::7]:8000"),
    ],
)
def test_the_address_to_open_is_localhost_on_this_machine(
    host: str, address: str, settings: LazySettings
) -> None:
    assert addresses.address_of(host, 8000) == address
    settings.PUBLIC_URL = "https://chat.example.org"
    assert addresses.address_of(host, 8000) == "https://chat.example.org"
