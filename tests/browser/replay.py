"""What a browser sends when somebody clicks: held back, and sent by whoever likes over a connection of their own.

Streamlit's browser sends one message a click: the address, and the state of every widget by its id. Whoever has a
cookie can send such a message, whatever their pages show.
"""

from __future__ import annotations

import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from playwright.sync_api import Page, WebSocketRoute
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Common_pb2 import FileURLs
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.web.server.starlette.starlette_server_config import XSRF_COOKIE_NAME
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

OVER = (ForwardMsg.FINISHED_SUCCESSFULLY, ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY)
Cookies = Mapping[str, str]


class Recorder:
    """Between a page and its server: what the page asks for is kept, and once it is held, not passed on any more.

    What it asks for by itself, to refresh a part, is not kept.
    """

    def __init__(self, page: Page) -> None:
        self.frames: list[BackMsg] = []
        self.held = 0
        self._holding = False
        page.route_web_socket("**/_stcore/stream", self._route)

    def hold(self) -> None:
        """From now on nothing is run on the server."""
        self._holding = True

    def _route(self, route: WebSocketRoute) -> None:
        server = route.connect_to_server()
        self.frames.clear()

        def passes(message: str | bytes) -> None:
            frame = BackMsg.FromString(message if isinstance(message, bytes) else message.encode())
            runs = frame.WhichOneof("type") == "rerun_script"
            if frame.WhichOneof("type") == "file_urls_request" or (runs and not frame.rerun_script.is_auto_rerun):
                self.frames.append(frame)
                self.held += runs and self._holding
            if not (runs and self._holding):
                server.send(message)

        route.on_message(passes)


class Session:
    """A connection to a dashboard with somebody's cookies, and no browser; a context manager.

    Args:
        url: The dashboard's.
        cookies: By name; none for somebody who is not logged in.
        origin: Of the page that a browser would connect from.
        files: By name, what is uploaded when the recorded page uploaded something.
    """

    def __init__(self, url: str, cookies: Cookies, origin: str, files: Mapping[str, bytes] | None = None) -> None:
        self._url, self._cookies, self._files = url, cookies, files or {}
        self._token = cookies.get(XSRF_COOKIE_NAME, "")
        self._header = "; ".join(f"{name}={value}" for name, value in cookies.items())
        self._uploaded: dict[str, FileURLs] = {}
        self._id = ""
        self.received = b""
        self._connection = connect(
            f"{url.replace('http', 'ws', 1)}/_stcore/stream",
            subprotocols=[Subprotocol("streamlit"), *([Subprotocol(self._token)] if self._token else [])],
            origin=Origin(origin), additional_headers={"Cookie": self._header}, max_size=None,
        )  # fmt: skip

    def __enter__(self) -> Self:
        self._socket = self._connection.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.__exit__(kind, error, trace)

    def send(self, frame: BackMsg) -> None:
        """Just so, and wait for nothing."""
        self._socket.send(frame.SerializeToString())

    def replay(self, frames: Sequence[BackMsg]) -> None:
        """The recorded ones one after the other, each answered before the next; files are uploaded anew.

        What was asked of a part of the page is asked of the whole page as well: its part may not be there.
        """
        for frame in frames:
            if frame.WhichOneof("type") == "file_urls_request":
                self._upload(frame)
                continue
            mine = BackMsg.FromString(frame.SerializeToString())
            self._with_uploads(mine)
            mine.rerun_script.ClearField("cached_message_hashes")  # everything is sent in full
            self.send(mine)
            ran = self._wait()
            if mine.rerun_script.fragment_id and not ran:
                mine.rerun_script.fragment_id = ""
                self.send(mine)
                ran = self._wait()
            assert ran, "the server did not run the page"

    def _receive(self, seconds: float) -> ForwardMsg | None:
        try:
            data = self._socket.recv(timeout=seconds)
        except TimeoutError:
            return None
        assert isinstance(data, bytes)
        self.received += data
        message = ForwardMsg.FromString(data)
        if message.WhichOneof("type") == "new_session":
            self._id = message.new_session.initialize.session_id
        return message

    def _wait(self) -> bool:
        """Whether the page, or a part of it, was run to its end; not if nothing of it is begun in five seconds."""
        seconds = 5.0
        while (message := self._receive(seconds)) is not None:
            if message.WhichOneof("type") == "new_session":
                seconds = 60.0
            if message.WhichOneof("type") == "script_finished" and message.script_finished in OVER:
                return True
        assert seconds == 5.0, "the page was not run to its end"
        return False

    def _upload(self, frame: BackMsg) -> None:
        asked = BackMsg.FromString(frame.SerializeToString()).file_urls_request
        asked.session_id, asked.request_id = self._id, uuid.uuid4().hex
        self.send(BackMsg(file_urls_request=asked))
        while (message := self._receive(20)) is not None and message.WhichOneof("type") != "file_urls_response":
            pass
        assert message is not None
        for name, where in zip(asked.file_names, message.file_urls_response.file_urls, strict=True):
            self._uploaded[name] = where
            mark = uuid.uuid4().hex
            head = f'--{mark}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n\r\n'
            request = urllib.request.Request(
                f"{self._url}{where.upload_url}", method="PUT",
                data=head.encode() + self._files[name] + f"\r\n--{mark}--\r\n".encode(),
                headers={"Content-Type": f"multipart/form-data; boundary={mark}", "Cookie": self._header,
                         "X-Xsrftoken": self._token},
            )  # fmt: skip
            urllib.request.urlopen(request, timeout=20).close()

    def _with_uploads(self, frame: BackMsg) -> None:
        for widget in frame.rerun_script.widget_states.widgets:
            for file in widget.file_uploader_state_value.uploaded_file_info:
                where = self._uploaded[file.name]
                file.file_id = where.file_id
                file.file_urls.CopyFrom(where)
