"""Whose memory, CPU and energy are an endpoint's: the process that listens on its port, if that is this machine."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

import psutil

from trilemma.engines.remote import ServerProcess

_FORWARDERS = frozenset(
    {"docker-proxy", "haproxy", "nginx", "caddy", "envoy", "kubectl", "rootlessport", "ssh", "sshd"}
)
"""Programs that listen in another's place, whose memory and energy are not the model's."""


def is_here(host: str) -> bool:
    """Whether ``host`` is this machine: a loopback address, or one of its own."""
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return False
    own = {address.address for addresses in psutil.net_if_addrs().values() for address in addresses}
    return bool(found) and all(ipaddress.ip_address(str(a).split("%")[0]).is_loopback or a in own for a in found)


def find_server(address: str, port: int | None = None, pid: int | None = None) -> ServerProcess:
    """The process to meter for ``address``, or why none is; ``pid`` or ``port`` say more than the address does."""
    if pid is not None:
        return _named(pid, "the process that was named") or ServerProcess(None, f"there is no process {pid} here")
    parts = urlsplit(address)
    if port is None:
        if not is_here(parts.hostname or ""):
            return ServerProcess(None, "the server runs on another machine: its memory and energy are not known here")
        port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        listening = [
            c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN and c.laddr.port == port
        ]
    except psutil.Error:
        return ServerProcess(None, "who listens on the port cannot be seen without more rights: set pid")
    pids = sorted({c.pid for c in listening if c.pid})
    parents = {_parent(one) for one in pids}
    # Workers of one server inherit its socket: their common parent is the server.
    first = next((one for one in pids if one in parents), next(iter(pids), None))
    found = None if first is None else _named(first, f"the process that listens on port {port}")
    return found or ServerProcess(None, f"no process of this machine was seen to listen on port {port}")


def _parent(pid: int) -> int | None:
    try:
        return int(psutil.Process(pid).ppid())
    except psutil.Error:
        return None


def _named(pid: int, what: str) -> ServerProcess | None:
    try:
        name = psutil.Process(pid).name()
    except psutil.Error:
        return None
    if name in _FORWARDERS:
        return ServerProcess(None, f"{what} is {name}, which only passes requests on: set pid to the server's own")
    return ServerProcess(pid, f"{what}: {name}")
