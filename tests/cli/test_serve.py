"""Dashboard and worker as real processes, watched and ended as one."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.waiting import free_port, wait_for
from trilemma.errors import TrilemmaError
from trilemma.serve import Services, app_file, check_port, host_arguments


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def services(home: Path, notes: list[str]) -> Iterator[Services]:
    with Services(port=free_port(), log_dir=home / "logs", say=notes.append) as running:
        running.wait_ready()
        yield running


def test_both_run_and_a_killed_worker_is_started_again(services: Services, notes: list[str]) -> None:
    with urllib.request.urlopen(services.url, timeout=10) as answer:
        assert answer.status == 200
    first = services.pids["worker"]
    wait_for(lambda: psutil.Process(first).status() != psutil.STATUS_ZOMBIE)
    psutil.Process(first).kill()

    def replaced() -> bool:
        services.check()
        return services.pids["worker"] != first

    wait_for(replaced)
    assert "starting it again" in notes[0]


def test_the_end_of_the_dashboard_is_an_error(services: Services) -> None:
    psutil.Process(services.pids["dashboard"]).kill()

    def check_fails() -> bool:
        try:
            services.check()
        except TrilemmaError as error:
            return "dashboard ended" in error.message
        return False

    wait_for(check_fails)


def test_leaving_ends_both(home: Path) -> None:
    with Services(port=free_port(), log_dir=home / "logs") as running:
        children = [psutil.Process(pid) for pid in running.pids.values()]
        running.wait_ready()
    assert len(children) == 2
    assert not any(child.is_running() for child in children)


def test_both_end_when_what_started_them_is_killed(home: Path) -> None:
    command = [sys.executable, "-m", "trilemma", "serve", "--no-browser", "--port", str(free_port())]
    serve = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with serve:
        assert serve.stdout is not None
        assert any("The dashboard is at" in line for line in serve.stdout)
        children = psutil.Process(serve.pid).children()
        assert [[part in child.cmdline() for part in ("streamlit", "worker")] for child in children] == [
            [True, False],
            [False, True],
        ]
        serve.kill()
    gone, alive = psutil.wait_procs(children, timeout=30)
    assert (len(gone), alive) == (2, [])


def test_a_port_in_use_is_refused() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(TrilemmaError, match="cannot be used") as caught:
            check_port("127.0.0.1", taken.getsockname()[1])
    assert "--port" in caught.value.hint


def test_the_dashboard_is_found_beside_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert app_file().name == "app.py"
    package = tmp_path / "site-packages" / "trilemma" / "__init__.py"
    monkeypatch.setattr("trilemma.__file__", str(package))
    with pytest.raises(TrilemmaError, match=r"app\.py is not beside"):
        app_file()


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:1"), ("0.0.0.0", "http://127.0.0.1:1"), ("::1", "http://[::1]:1")],
)
def test_where_it_answers(host: str, url: str) -> None:
    assert Services(host=host, port=1).url == url


def test_ctrl_c_is_heard_while_the_dashboard_does_not_answer() -> None:
    stop = threading.Event()
    timer = threading.Timer(0.3, stop.set)
    timer.start()
    Services(port=free_port()).wait_ready(stop, timeout_s=60)
    timer.join()


def test_ctrl_c_ends_the_command_and_its_children(home: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "trilemma", "serve", "--no-browser", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with process:
        try:
            assert process.stdout is not None
            line = next(line for line in process.stdout if "The dashboard is at" in line)
            assert f":{port}" in line
            children = psutil.Process(process.pid).children()
            assert len(children) == 2
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()
    assert not any(child.is_running() for child in children)


def upgrade(port: int, host: str) -> int:
    """The status that a page of ``http://host`` gets when it opens a connection to the dashboard by that name."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(
            f"GET /_stcore/stream HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            .encode()
        )  # fmt: skip
        return int(connection.recv(64).split()[1])


def test_a_foreign_page_whose_name_leads_here_is_refused(home: Path) -> None:
    """DNS rebinding: its name is in the browser's request, for the host and for the page alike."""
    port = free_port()
    with Services(port=port, worker=False, names=["proxy.example"], log_dir=home / "logs") as running:
        running.wait_ready()
        # A tunnel through ssh may begin at another port.
        own = ("localhost", f"127.0.0.1:{port}", "localhost:9999", "[::1]:9999", "proxy.example")
        assert {host: upgrade(port, host) for host in own} == dict.fromkeys(own, 101)
        foreign = ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "localhost@evil.example")
        assert {host: upgrade(port, host) for host in foreign} == dict.fromkeys(foreign, 403)


def test_by_which_names_the_dashboard_is_called(tmp_path: Path) -> None:
    def names(host: str, *more: str) -> list[str]:
        return host_arguments(host, tmp_path, more)[1::2]

    own = ["localhost", "127.0.0.1", "::1"]
    assert names("127.0.0.1") == names("localhost") == own
    assert names("127.0.0.1", "proxy.example") == [*own, "proxy.example"]
    assert names("0.0.0.0") == ["*"]
    assert names("192.168.1.5", "box") == [*own, "192.168.1.5", "box"]
    (tmp_path / "secrets.toml").write_text('[auth]\nclient_id = "x"\n')
    assert names("127.0.0.1") == ["*"]


def test_streamlits_own_command_knows_these_names_too() -> None:
    configured = tomllib.loads((app_file().parent / ".streamlit" / "config.toml").read_text())
    assert configured["server"]["allowedHosts"] == ["localhost", "127.0.0.1", "::1"]
