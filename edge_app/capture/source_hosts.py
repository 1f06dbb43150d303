"""Which hosts a source that is set over the network may lead to: cameras, but not this device or a cloud's secrets."""

from __future__ import annotations

import ipaddress
import socket
from typing import Optional, Union
from urllib.parse import urlsplit

_Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]
# Cloud services that hand out credentials and are not link-local (Amazon's over IPv6, Alibaba's).
_METADATA = frozenset({ipaddress.ip_address("fd00:ec2::254"), ipaddress.ip_address("100.100.100.200")})
_PLAYLISTS = (".m3u8", ".m3u", ".mpd", ".sdp", ".ffconcat")


def why_refused(uri: str) -> Optional[str]:
    """Return why a source must not be set over the network, or None.

    Args:
        uri: an address with ``//``. A name is resolved; one that can't be now is let through, as a camera may be off.
    """
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is no address; correct it"
    if not host:
        return "names no host; give the camera's address"
    if parts.path.lower().endswith(_PLAYLISTS):
        return "is a playlist, which may lead anywhere; such a source goes into the configuration file"
    return next((reason for address in _addresses(host) if (reason := _why_refused(address))), None)


def checked_addresses(host: str) -> list[str]:
    """Return the addresses that a host's name means now, to be connected to without asking for the name again.

    Raises:
        ForbiddenHost: one of them is no camera's.
        OSError: the name is not known now.
    """
    found = _addresses(host)
    if not found:
        raise OSError(f"{host} is not known")
    for address in found:
        reason = _why_refused(address)
        if reason is not None:
            raise ForbiddenHost(reason)
    return [str(address) for address in found]


class ForbiddenHost(Exception):
    """A source leads to where it must not; the message completes a sentence that begins with the source."""


def _why_refused(address: _Address) -> Optional[str]:
    # ::ffff:127.0.0.1 is 127.0.0.1 in another dress.
    found = getattr(address, "ipv4_mapped", None) or address
    if found.is_loopback or found.is_unspecified or _is_own(found):
        return "leads to this device itself; such a source goes into the configuration file"
    if found.is_link_local or found in _METADATA:
        return "leads to where clouds keep credentials, which is no camera; give another address"
    if found.is_multicast or found.is_reserved:
        return "leads to no single camera; give another address"
    return None


def _is_own(address: _Address) -> bool:
    """Tell whether this device has the address: then it would be reached from that very one. Nothing is sent."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))
            return ipaddress.ip_address(probe.getsockname()[0].partition("%")[0]) == address
    except OSError:
        return False


def _addresses(host: str) -> list[_Address]:
    literal = host.partition("%")[0]
    try:
        return [ipaddress.ip_address(literal)]
    except ValueError:
        pass
    try:
        # C libraries, and so FFmpeg, also take 2130706433, 0x7f.1 and 017700000001 for addresses.
        return [ipaddress.ip_address(socket.inet_aton(host))]
    except (OSError, UnicodeEncodeError):
        pass
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [ipaddress.ip_address(str(one[4][0]).partition("%")[0]) for one in found]
