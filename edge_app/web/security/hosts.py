"""Which host names are ours: a page elsewhere could have its own name resolved to this machine (DNS rebinding)."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address means this very machine."""
    name = host.strip("[]").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def host_of(header: str) -> str:
    """Return the host of a Host header without its port, small letters, without brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.rsplit(":", 1)[0].lower() if header.count(":") == 1 else header.lower()


class TrustedHosts:
    """Knows the names that a browser may call this dashboard by."""

    def __init__(self, bound_to: str, extra: Iterable[str]) -> None:
        """Trust loopback names and ``extra``; if bound beyond loopback, this machine's names and any address too."""
        self._names = {name.lower() for name in extra}
        self._beyond = not is_loopback(bound_to)
        if self._beyond:
            own = socket.gethostname().lower()
            self._names |= {own, f"{own.partition('.')[0]}.local"}

    def __contains__(self, header: str) -> bool:
        """Tell whether a Host header may be answered."""
        host = host_of(header)
        return is_loopback(host) or host in self._names or (self._beyond and _is_address(host))


def _is_address(host: str) -> bool:
    # An address cannot be rebound: whoever writes it in a link knows where it leads.
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
