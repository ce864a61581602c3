"""Dashboard and worker together: two child processes, started, watched and ended as one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Self

import trilemma
from trilemma.access.rules import SECRETS, login_configured
from trilemma.child import STOP_AFTER_S, command
from trilemma.errors import SettingsError, TrilemmaError
from trilemma.metrics import ServiceCollector, serving
from trilemma.settings import Settings, get_settings
from trilemma.store import open_store

PORT = 8501
RESTART_WITHIN_S = 60.0
RESTARTS = 5
Say = Callable[[str], None]


def app_file() -> Path:
    """The dashboard's entry script, beside the package.

    Raises:
        TrilemmaError: it is not there: the package was installed without its checkout.
    """
    path = Path(trilemma.__file__).resolve().parent.parent / "app.py"
    if not path.is_file():
        raise TrilemmaError(
            f"The dashboard's app.py is not beside the package ({path}).",
            "Run Trilemma from a checkout (`make serve`, or `pip install -e .`); `trilemma worker` needs no dashboard.",
        )
    return path


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine alone; an empty one is every address."""
    return host in ("localhost", "::1") or host.startswith("127.")


def lets_anyone_in(host: str, settings: Settings, *, allow_anyone: bool = False) -> bool:
    """Whether a dashboard there lets everybody on the network do everything.

    Raises:
        SettingsError: it would, and nobody said so; or the log-in cannot be used.
    """
    if login_configured(settings.home):
        if find_spec("authlib") is None:
            raise SettingsError(
                "A log-in is configured, and the package for it is missing.", "Run: pip install 'trilemma[auth]'"
            )
        return False
    if is_loopback(host):
        return False
    if not (allow_anyone or settings.allow_anyone):
        raise SettingsError(
            f"{host} is open to the network, and there is no log-in.",
            "Configure one (docs/users.md), or let everybody in as administrator with --allow-anyone.",
        )
    return True


def host_arguments(host: str, home: Path, names: Sequence[str] = ()) -> list[str]:
    """What tells Streamlit by which names browsers may call the dashboard, ``names`` besides its own.

    Without a log-in, a foreign page whose name is made to lead to this machine would be administrator otherwise; where
    people log in, their cookie is for the right name alone.
    """
    closed = names or (is_loopback(host) and not login_configured(home))
    allowed = dict.fromkeys(("localhost", "127.0.0.1", "::1", host, *names)) if closed else ("*",)
    return [part for name in allowed for part in ("--server.allowedHosts", name)]


def login_arguments(home: Path) -> list[str]:
    """What tells Streamlit where the log-in is configured: in the data folder, and nowhere else."""
    path = home / SECRETS
    return ["--secrets.files", str(path)] if path.exists() else []


def check_port(host: str, port: int) -> None:
    """Refuse a port that something listens on, or an address that is not this machine's.

    Raises:
        TrilemmaError: it cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise TrilemmaError(
                f"Port {port} on {host} cannot be used ({error.strerror}).",
                "Perhaps a dashboard is running already; choose another with --port.",
            ) from error


class Services:
    """The dashboard and, unless told otherwise, a worker; a context manager that ends both.

    Args:
        host: Address to listen on; anything but loopback opens the dashboard to the network.
        port: TCP port of the dashboard.
        worker: Whether to start a worker.
        allow_anyone: Whether the dashboard may listen to the network without a log-in.
        names: By which names browsers may call it besides, such as a proxy's.
        log_dir: Where the children's output goes; None for this process's own.
        say: Takes notes for the user, such as that the worker was started again.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = PORT,
        worker: bool = True,
        allow_anyone: bool = False,
        names: Sequence[str] = (),
        log_dir: Path | None = None,
        say: Say = lambda text: None,
    ) -> None:
        self.host, self.port = host, port
        self._with_worker, self._log_dir, self._say = worker, log_dir, say
        self._allow_anyone, self._names = allow_anyone, names
        self._files = ExitStack()
        self._dashboard: subprocess.Popen[bytes] | None = None
        self._worker: subprocess.Popen[bytes] | None = None
        self._restarts: list[float] = []

    @property
    def url(self) -> str:
        """Where the dashboard answers, as seen from this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104 - a comparison
        return f"http://{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{self.port}"

    @property
    def pids(self) -> dict[str, int]:
        """The children's process ids by name."""
        children = {"dashboard": self._dashboard, "worker": self._worker}
        return {name: child.pid for name, child in children.items() if child is not None}

    def start(self) -> None:
        """Start both.

        Raises:
            TrilemmaError: the port is taken or the dashboard's files are missing.
        """
        app = app_file()
        check_port(self.host, self.port)
        self._dashboard = self._spawn(
            "dashboard",
            [
                *("streamlit", "run", str(app)),
                *("--server.address", self.host, "--server.port", str(self.port), "--server.headless", "true"),
                *("--browser.gatherUsageStats", "false"),
                *("--browser.serverAddress", self.url.split("/")[2].rsplit(":", 1)[0]),
                *host_arguments(self.host, get_settings().home, self._names),
                *login_arguments(get_settings().home),
            ],
            cwd=app.parent,
            env={"TRILEMMA_ALLOW_ANYONE": "true"} if self._allow_anyone else {},
        )
        if self._with_worker:
            self._worker = self._start_worker()

    def _start_worker(self) -> subprocess.Popen[bytes]:
        return self._spawn("worker", ["trilemma", "worker"])

    def _spawn(
        self, name: str, arguments: list[str], cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        output: IO[bytes] | None = None
        if self._log_dir is not None:
            self._log_dir.mkdir(parents=True, exist_ok=True)
            output = self._files.enter_context((self._log_dir / f"{name}.log").open("ab"))
        # A session of its own: ctrl-C reaches this process alone, which then ends the children in order.
        return subprocess.Popen(
            command(*arguments),
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            start_new_session=True,
        )

    def wait_ready(self, stop: threading.Event | None = None, timeout_s: float = 60.0) -> None:
        """Return once the dashboard answers, or ``stop`` is set.

        Raises:
            TrilemmaError: it ended, or does not answer in time.
        """
        stop = stop or threading.Event()
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and not stop.is_set():
            self.check()
            try:
                with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=2) as answer:  # noqa: S310 - http
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, OSError):
                stop.wait(0.2)
        if not stop.is_set():
            raise TrilemmaError(f"The dashboard does not answer after {timeout_s:.0f} s.", self._where_logs())

    def check(self) -> None:
        """Start a worker that ended again, with a note.

        Raises:
            TrilemmaError: the dashboard ended, or the worker keeps ending.
        """
        if self._dashboard is not None and (code := self._dashboard.poll()) is not None:
            raise TrilemmaError(f"The dashboard ended (exit code {code}).", self._where_logs())
        if self._worker is None or (code := self._worker.poll()) is None:
            return
        now = time.monotonic()
        self._restarts = [*(t for t in self._restarts if now - t < RESTART_WITHIN_S), now]
        if len(self._restarts) > RESTARTS:
            raise TrilemmaError(
                f"The worker ended {len(self._restarts)} times within a minute (exit code {code}).", self._where_logs()
            )
        self._say(f"The worker ended (exit code {code}); starting it again. Finished measurements are kept.")
        self._worker = self._start_worker()

    def _where_logs(self) -> str:
        return f"See the logs in {self._log_dir}." if self._log_dir else "See its messages above."

    def stop(self) -> None:
        """End both: asked first, killed after ten seconds."""
        children = [child for child in (self._worker, self._dashboard) if child is not None]
        for child in children:
            if child.poll() is None:
                child.terminate()
        deadline = time.monotonic() + STOP_AFTER_S
        for child in children:
            try:
                child.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self._dashboard = self._worker = None
        self._files.close()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def stop_event() -> threading.Event:
    """An event that ctrl-C or a request to end this process sets."""
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGTERM, on_signal)
    return stop


def open_browser(url: str) -> bool:
    """Open ``url`` where there is a screen; whether a browser was found."""
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False  # A text browser would take over the terminal.
    return webbrowser.open(url)


def serve(
    *, host: str, port: int, worker: bool, browser: bool, say: Say, metrics: int | None = None,
    allow_anyone: bool = False, names: Sequence[str] = (),
) -> None:  # fmt: skip
    """Run dashboard and worker until asked to end, and answer Prometheus at the port ``metrics`` if one is given.

    Raises:
        TrilemmaError: a port is taken, or a child cannot be kept running.
    """
    stop, settings = stop_event(), get_settings()
    with ExitStack() as stack:
        children = Services(host=host, port=port, worker=worker, allow_anyone=allow_anyone, names=names, say=say)
        services = stack.enter_context(children)
        services.wait_ready(stop)
        if stop.is_set():
            return
        say(f"The dashboard is at {services.url} - ctrl-C ends it{' and the worker' if worker else ''}.")
        if metrics is not None:
            store = stack.enter_context(open_store(settings.database_url))
            collector = ServiceCollector(store, settings.home, lambda: services.pids)
            bound = stack.enter_context(serving(collector, host, metrics))
            say(f"Metrics for Prometheus are at port {bound}, /metrics.")
        if browser:
            open_browser(services.url)
        while not stop.wait(0.5):
            services.check()
