"""The addresses on which the site listens, and the one it tells people to open."""

import ipaddress
import socket

from django.conf import settings


def listening_hosts(host: str, port: int) -> list[str]:
    """Return the addresses to listen on: for localhost both loopback addresses, because browsers may try either first.

    Only IPv4 if the machine has no IPv6, or if the system picks the port, which it would do for each address.
    """
    if host != "localhost":
        return [host]
    return ["127.0.0.1", "::1"] if port and _has_ipv6_loopback() else ["127.0.0.1"]


def _has_ipv6_loopback() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def bind(host: str, port: int, *, is_shared: bool = False) -> socket.socket:
    """Return a socket that is bound to this address and does not listen yet. Raises OSError if the address is taken.

    Several sockets can be bound to the same address if all of them are shared. Linux then distributes new connections
    evenly among those that listen.
    """
    found = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Without this, the port stays taken for a minute after the last process has ended.
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        found.bind((host, port))
    except OSError:
        found.close()
        raise
    return found


def address_of(host: str, port: int) -> str:
    """Return the address of the site to open in a browser. Passkeys work on localhost, but on no IP address."""
    ip = ipaddress.ip_address(host)
    name = "localhost" if ip.is_loopback or ip.is_unspecified else f"[{ip}]" if ip.version == 6 else str(ip)
    return settings.PUBLIC_URL or f"http://{name}:{port}"
