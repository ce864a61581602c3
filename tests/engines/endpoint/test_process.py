"""Who is metered for an endpoint: real sockets and real processes."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from trilemma.engines.endpoint.process import find_server

LISTEN = (
    "import socket, time; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); "
    "time.sleep(600)"
)


def test_the_process_that_listens_is_found_and_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        found = find_server(f"http://localhost:{port}/v1")
        assert found.pid == os.getpid()
        assert f"port {port}: python" in found.reason
        assert find_server("http://192.0.2.7/v1", port).pid == os.getpid()


def test_a_named_process_is_metered_wherever_the_address_is() -> None:
    assert find_server("http://192.0.2.7:8000/v1", None, os.getpid()).pid == os.getpid()
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    gone = find_server("http://127.0.0.1:8000/v1", None, child.pid)
    assert gone.pid is None
    assert "there is no process" in gone.reason


def test_what_only_passes_requests_on_is_not_metered_as_the_model(tmp_path: Path) -> None:
    # The kernel calls a process by its program: a Python of another name listens as a tunnel would.
    program = tmp_path / "ssh"
    shutil.copy(Path(sys.executable).resolve(), program)
    environment = os.environ | {"PYTHONHOME": sys.base_prefix, "LD_LIBRARY_PATH": f"{sys.base_prefix}/lib"}
    with subprocess.Popen([program, "-S", "-c", LISTEN], stdout=subprocess.PIPE, env=environment) as tunnel:
        try:
            assert tunnel.stdout is not None
            port = int(tunnel.stdout.readline())
            found = find_server(f"http://127.0.0.1:{port}/v1")
            assert found.pid is None
            assert "is ssh, which only passes requests on" in found.reason
        finally:
            tunnel.kill()


def test_a_host_that_is_none_is_somewhere_else() -> None:
    assert find_server("http://" + "a" * 70 + ".example/v1").pid is None
