"""Addresses that are never asked: where a cloud tells a machine of itself, keys included, and asks nobody who he is.

A server on this machine or in its network may be measured: that is what endpoints are for. These addresses hold no
model, and whoever can name an endpoint could otherwise have them read from here (server-side request forgery). Names
are looked up before anything is sent; whom a connection led to in the end is looked at before an answer is read, for a
name may mean another address by then.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

import httpx2 as httpx

from trilemma.errors import CatalogError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_METADATA = tuple(
    ipaddress.ip_network(one)
    for one in (
        "169.254.0.0/16",  # AWS, Azure, Google, Oracle, OpenStack; AWS' keys of containers
        "168.63.129.16/32",  # Azure's own
        "100.100.100.200/32",  # Alibaba
        "192.0.0.192/32",  # Oracle
        "fd00:ec2::/32",  # AWS
        "fd20:ce::254/128",  # Google
        "fe80::a9fe:a9fe/128",  # OpenStack
        "fd00:42::42/128",  # Scaleway
        "fd00:a9fe:a9fe::1/128",  # Akamai
        "fd00:c1::a9fe:a9fe/128",  # Oracle
        "fd00:100::100:200/128",  # Alibaba
    )
)
_EMBEDDING = tuple(ipaddress.IPv6Network(one) for one in ("64:ff9b::/96", "::/96"))
"""Networks of version 6 whose last four bytes are an address of version 4."""
_NAMES = frozenset({"metadata", "metadata.google.internal", "instance-data", "instance-data.ec2.internal"})


def is_metadata(host: str) -> bool:
    """Whether ``host``, a name or an address in any spelling, is one of them; nothing is looked up."""
    plain = host.lower().rstrip(".").partition("%")[0]
    if plain in _NAMES:
        return True
    address = _address(plain)
    return address is not None and _forbidden(address)


def refuse_metadata(url: str) -> None:
    """Look up the host of ``url``, and refuse it where any of its addresses is one of them.

    Raises:
        CatalogError: it is.
    """
    host = urlsplit(url).hostname or ""
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        found = set()  # whoever connects says why that fails
    if is_metadata(host) or any(map(is_metadata, found)):
        raise refusal()


def refuse_peer(response: httpx.Response) -> None:
    """Look at whom the connection of a response leads to.

    Raises:
        CatalogError: to one of them.
    """
    stream = response.extensions.get("network_stream")
    peer = stream.get_extra_info("server_addr") if stream is not None else None
    if isinstance(peer, tuple) and peer and is_metadata(str(peer[0])):
        raise refusal()


async def refuse_peer_async(response: httpx.Response) -> None:
    """:func:`refuse_peer` for clients that wait for their hooks."""
    refuse_peer(response)


def refusal() -> CatalogError:
    """The error for such an address."""
    return CatalogError(
        "The address is a cloud's metadata service, or leads to one: it holds keys of this machine, and no model.",
        "Give the address of a model's server.",
    )


def _address(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        pass
    try:
        # Also 2852039166, 0xa9fea9fe and 0251.0376.0251.0376, which resolvers take for addresses.
        return ipaddress.IPv4Address(socket.inet_aton(text))
    except (OSError, UnicodeError, ValueError):
        return None


def _forbidden(address: Address) -> bool:
    inner: list[Address] = [address]
    if isinstance(address, ipaddress.IPv6Address):
        inner += [one for one in (address.ipv4_mapped, address.sixtofour) if one is not None]
        if any(address in network for network in _EMBEDDING):
            inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return any(one in network for one in inner for network in _METADATA)
