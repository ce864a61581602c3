"""A small hub on this machine: the routes, headers and faults of the Hugging Face hub that a client meets.

Run by hand with ``python tests/catalog/hub_server.py FOLDER``: each ``FOLDER/owner/name`` is a repository.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import struct
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "c0ffee" + "0" * 34
TOKEN = "hf_good"


@dataclass
class Repo:
    files: dict[str, bytes]
    card: dict[str, Any] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    """What the hub read of config.json."""
    safetensors: dict[str, Any] | None = None
    gated: bool = False
    private: bool = False
    downloads: int = 0


@dataclass
class Request:
    method: str
    path: str
    host: str
    token: str
    range: str
    user_agent: str


class HubServer:
    """A context manager; ``url`` is what HF_ENDPOINT must be."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.requests: list[Request] = []
        self.drop_after: int | None = None
        """Break the connection after so many bytes of a file ..."""
        self.drops = 0
        """... so many times."""
        self.drop_hard = False
        """With a reset instead of an orderly end."""
        self.ignore_range = False
        self.corrupt = False
        self.oversend = 0
        self.status: int | None = None
        """Answer everything with this status."""
        hub = self

        class Bound(_Handler):
            server_hub = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add(self, name: str, files: dict[str, bytes], **details: Any) -> Repo:
        self.repos[name] = Repo(files, **details)
        return self.repos[name]

    def transfers(self) -> list[Request]:
        """The requests that asked for a file's content."""
        return [r for r in self.requests if r.method == "GET" and r.path.startswith("/cdn/")]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    server_hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub, parts = self.server_hub, urlsplit(self.path)
        token = self.headers.get("authorization", "").removeprefix("Bearer ")
        get = self.headers.get
        hub.requests.append(
            Request(self.command, self.path, get("host", ""), token, get("range", ""), get("user-agent", ""))
        )
        path = unquote(parts.path)
        if hub.status is not None:
            self._json({"error": "as the test wants it"}, hub.status)
        elif path == "/api/models":
            self._search(parse_qs(parts.query))
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?", path):
            if repo := self._repo(match[1], token, metadata=True):
                self._json(self._info(match[1], repo, sizes=True))
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)(?:/.*)?", path):
            if repo := self._repo(match[1], token, metadata=True):
                self._json(
                    [{"type": "file", "path": n, "size": len(c), "oid": "0" * 40} for n, c in repo.files.items()]
                )
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._resolve(match[1], match[3], token)
        elif match := re.fullmatch(r"/cdn/([^/]+/[^/]+)/(.+)", path):
            self._content(self.server_hub.repos[match[1]].files[match[2]])
        else:
            self._json({"error": "no such route"}, 404)

    def _repo(self, name: str, token: str, *, metadata: bool = False) -> Repo | None:
        repo = self.server_hub.repos.get(name)
        if token and token != TOKEN:
            headers = {"X-Error-Message": "Invalid credentials in Authorization header"}
            self._json({"error": "Invalid credentials in Authorization header"}, 401, headers)
        elif repo is None or (repo.private and token != TOKEN):
            # The real hub does not tell strangers whether a repository exists.
            code = 404 if token else 401
            self._json({"error": "Repository not found"}, code, {"X-Error-Code": "RepoNotFound"} if token else {})
        elif repo.gated and not metadata:
            self._json({"error": "gated"}, 403 if token else 401, {"X-Error-Code": "GatedRepo"})
        else:
            return repo
        return None

    def _search(self, query: dict[str, list[str]]) -> None:
        wanted, limit = query.get("search", [""])[0].lower(), int(query.get("limit", ["100"])[0])
        kind = "." + query["filter"][0]
        found = [
            (name, repo)
            for name, repo in self.server_hub.repos.items()
            if wanted in name.lower() and not repo.private and any(file.endswith(kind) for file in repo.files)
        ]
        found.sort(key=lambda item: -item[1].downloads)
        self._json([self._info(n, r, sizes=False) for n, r in found[:limit]])

    def _info(self, name: str, repo: Repo, *, sizes: bool) -> dict[str, Any]:
        siblings = [{"rfilename": n} | ({"size": len(c)} if sizes else {}) for n, c in repo.files.items()]
        return {
            "_id": "1",
            "id": name,
            "sha": COMMIT,
            "private": repo.private,
            "gated": "manual" if repo.gated else False,
            "downloads": repo.downloads,
            "tags": repo.tags,
            "cardData": repo.card,
            "config": repo.config,
            **({"safetensors": repo.safetensors} if repo.safetensors else {}),
            "siblings": siblings,
        }

    def _resolve(self, name: str, file: str, token: str) -> None:
        repo = self._repo(name, token)
        if repo is None:
            return
        if file not in repo.files:
            self._json({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
            return
        content = repo.files[file]
        headers = {
            "X-Repo-Commit": COMMIT,
            "X-Linked-Size": str(len(content)),
            "X-Linked-ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            # Another host, as the hub's storage is: a token must not follow there.
            "Location": f"http://localhost:{self.server_hub.port}/cdn/{name}/{file}",
        }
        self._send(302, b"", headers)

    def _content(self, content: bytes) -> None:
        hub, start = self.server_hub, 0
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("range", ""))
        if match and not hub.ignore_range:
            start = int(match[1])
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        body = content[start:] + b"x" * hub.oversend
        if hub.corrupt:
            body = bytes(len(body))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if hub.drop_after is not None and hub.drops > 0:
            hub.drops -= 1
            self.wfile.write(body[: hub.drop_after])
            self.wfile.flush()
            if hub.drop_hard:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        self.wfile.write(body)

    def _json(self, value: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"} | (headers or {}))

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def main(folder: Path) -> None:
    with HubServer() as hub:
        for root in sorted(folder.glob("*/*")):
            files = {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}
            hub.add(str(root.relative_to(folder)), files)
        print(f"HF_ENDPOINT={hub.url}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
