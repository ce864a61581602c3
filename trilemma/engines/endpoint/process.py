"""Whose memory, CPU and energy are an endpoint's: the process that listens on its port, if that is this machine."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

import psutil

from trilemma.engines.base import ServerProcess


def is_here(host: str) -> bool:
    """Whether ``host`` is this machine: a loopback address, or one of its own."""
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    own = {address.address for addresses in psutil.net_if_addrs().values() for address in addresses}
    return bool(found) and all(ipaddress.ip_address(str(a).split("%")[0]).is_loopback or a in own for a in found)


def find_server(address: str, port: int | None) -> ServerProcess:
    """The process to meter for ``address``, or why none is."""
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
        return ServerProcess(None, "who listens on the port cannot be seen without more rights")
    pids = sorted({c.pid for c in listening if c.pid})
    if not pids:
        return ServerProcess(None, f"no process of this machine was seen to listen on port {port}")
    # Workers of one server inherit its socket: their common parent is the server.
    parents = {psutil.Process(pid).ppid() for pid in pids}
    return ServerProcess(
        next((pid for pid in pids if pid in parents), pids[0]), f"the process that listens on port {port}"
    )
