"""Four people at a real OpenID Connect provider, how each logs in, and all that their dashboard keeps."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from tests.waiting import free_port, wait_for

PEOPLE = {"vera": "viewer", "anton": "analyst", "ada": "admin", "nora": ""}


def address(name: str) -> str:
    """What somebody is called in the log."""
    return f"{name}@example.org"


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextmanager
def provider(log: Path) -> Iterator[str]:
    """A provider that knows :data:`PEOPLE`, of whom one has no role; its address."""
    port = free_port()
    people: list[str] = []
    for name, role in PEOPLE.items():
        email = {"email": address(name), "email_verified": True}
        people += ["--user-claims", json.dumps({"sub": name, "name": name.title(), "groups": [role], **email})]
    with log.open("wb") as output:
        command = [sys.executable, "-m", "oidc_provider_mock", "--port", str(port), *people]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: answers(f"{url}/.well-known/openid-configuration"))
        yield url
    finally:
        process.terminate()
        process.wait(10)


def write_login(home: Path, provider: str, port: int, hours: str = "12") -> None:
    """Have people log in there at the dashboard on ``port``."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "secrets.toml").write_text(
        f'[auth]\nredirect_uri = "http://127.0.0.1:{port}/oauth2callback"\ncookie_secret = "{"k" * 40}"\n'
        f'client_id = "trilemma"\nclient_secret = "hush-hush"\n'
        f'server_metadata_url = "{provider}/.well-known/openid-configuration"\n'
    )
    roles = "".join(f'{role} = "{role}"\n' for role in PEOPLE.values() if role)
    (home / "access.toml").write_text(f'role_claim = "groups"\nsign_in_hours = {hours}\n[roles]\n{roles}')


def log_in(page: Page, url: str, name: str) -> None:
    """Log in at the provider, up to the first page."""
    page.goto(url)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("button", name=name, exact=True).click()
    page.wait_for_url(f"{url}/**", timeout=30_000)
    page.get_by_role("heading", level=1).wait_for(timeout=60_000)


def content(home: Path) -> dict[str, Any]:
    """Every row of every table but the log, and the hash of every file that people bring or have made."""
    with closing(sqlite3.connect(home / "trilemma.db")) as database:
        rows = {name: database.execute(f'select * from "{name}"').fetchall() for name in _tables(database)}
    return rows | {"files": {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in _files(home)}}


def _tables(database: sqlite3.Connection) -> list[str]:
    named = database.execute("select name from sqlite_master where type = 'table' order by name")
    return [name for (name,) in named if name != "audit" and not name.startswith("sqlite_")]


def _files(home: Path) -> list[Path]:
    folders = [home / "artifacts", home / "traces", home / "questions"]
    return sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())


@dataclass(frozen=True)
class Kept:
    """What a dashboard kept at one moment, to be brought back while it runs."""

    home: Path
    rows: dict[str, list[tuple[Any, ...]]]
    files: dict[Path, bytes]

    @classmethod
    def of(cls, home: Path) -> Kept:
        """What it keeps now."""
        with closing(sqlite3.connect(home / "trilemma.db")) as database:
            rows = {name: database.execute(f'select * from "{name}"').fetchall() for name in _tables(database)}
        return cls(home, rows, {path: path.read_bytes() for path in _files(home)})

    def bring_back(self) -> None:
        """All of it, with an empty log, and a change more: what a server has in its memory is read again."""
        for path in _files(self.home):
            if path not in self.files:
                path.unlink()
        for path, data in self.files.items():
            if not path.is_file() or path.read_bytes() != data:
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(data)
        with closing(sqlite3.connect(self.home / "trilemma.db", isolation_level=None, timeout=30)) as database:
            database.execute("begin immediate")
            (changes,) = database.execute("select value from meta where name = 'changes'").fetchone()
            database.execute("delete from audit")
            for name, rows in self.rows.items():
                database.execute(f'delete from "{name}"')
                if rows:
                    places = ", ".join("?" * len(rows[0]))
                    database.executemany(f'insert into "{name}" values ({places})', rows)
            database.execute("update meta set value = ? where name = 'changes'", (changes + 1,))
            database.execute("commit")
