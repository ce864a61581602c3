"""A session of the dashboard over its own web socket: what a browser says to the server, without the browser.

Streamlit's browser opens a web socket, asks for the page by a ``BackMsg``, gets the page as ``ForwardMsg`` and from
then on sends, with each thing that somebody does, the state of all widgets. So does :class:`Session`: to the server it
is a browser like any other, with a session, a script thread and messages of its own. It draws nothing.
"""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from streamlit.proto.Alert_pb2 import Alert
from streamlit.proto.AutoRerun_pb2 import AutoRerun
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

ANSWER_WITHIN_S = 60.0
Choice = str | bool | Sequence[str] | Mapping[str, Any]


class SessionError(Exception):
    """The server did not answer as it should."""


class Session:
    """One open page.

    Args:
        address: The dashboard's, ``http://127.0.0.1:8501``.
        page: The path of the page after it, with its query string.

    Attributes:
        problems: Exceptions and errors that the page has shown so far.
        widgets: The protocol buffers of the page's widgets as it is now, by the key that the page gave them.
    """

    def __init__(self, address: str, page: str = "/") -> None:
        self.problems: list[str] = []
        self.widgets: dict[str, Any] = {}
        self._address = address
        path, _, self._query = page.partition("?")
        self._page_name, self._page_hash = path.strip("/"), ""
        self._states: dict[str, WidgetState] = {}
        self._messages: dict[str, ForwardMsg] = {}
        self._seen: dict[str, Any] = {}
        self._answered = asyncio.Event()
        self._connection: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._repeating: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        url = self._address.replace("http", "ws", 1) + "/_stcore/stream"
        self._connection = await connect(
            url, subprotocols=["streamlit"], origin=self._address, max_size=None  # type: ignore[list-item, arg-type]
        )  # fmt: skip
        self._reader = asyncio.create_task(self._read(self._connection))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_repeating()
        if self._connection is not None:
            await self._connection.close()
        if self._reader is not None:
            self._reader.cancel()
            with suppress(asyncio.CancelledError):
                await self._reader

    @property
    def connected(self) -> bool:
        """Whether the server still listens."""
        return self._reader is not None and not self._reader.done()

    async def show(self) -> float:
        """Ask for the page; seconds until all of it has come.

        Raises:
            SessionError: it has not.
        """
        return await self._ask([])

    async def choose(self, key: str, choice: Choice) -> float:
        """Do something with the widget of ``key``; seconds until all that the server answers has come.

        Args:
            key: As the page calls the widget.
            choice: The option of a list, the options of one that takes several, whether a switch is on (for a button,
                True), or what is selected on a chart or in a table.

        Raises:
            SessionError: there is no such widget, or no answer.
        """
        if key not in self.widgets:
            raise SessionError(f"The page has no widget {key!r}.")
        widget = self.widgets[key]
        state = _state_of(widget, choice)
        momentary = state.WhichOneof("value") == "trigger_value" or isinstance(choice, Mapping)
        if not momentary:
            self._states[widget.id] = state
        return await self._ask([state] if momentary else [])

    def selected(self, key: str) -> list[str]:
        """The options that are chosen in a widget with options."""
        state = self._states.get(self.widgets[key].id)
        if state is None:
            return []
        if state.WhichOneof("value") == "string_value":
            return [state.string_value]
        return list(state.string_array_value.data)

    async def _ask(self, momentary: Iterable[WidgetState]) -> float:
        if self._connection is None:
            raise SessionError("The session is not open.")
        message = self._message(momentary)
        self._answered.clear()
        start = time.perf_counter()
        try:
            await self._connection.send(message.SerializeToString())
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await self._answered.wait()
        except TimeoutError:
            raise SessionError(f"No answer within {ANSWER_WITHIN_S:.0f} s.") from None
        except ConnectionClosed as error:
            raise SessionError(f"The server closed the connection ({error}).") from error
        if not self.connected:
            raise SessionError("The server closed the connection.")
        return time.perf_counter() - start

    def _message(self, momentary: Iterable[WidgetState]) -> BackMsg:
        message = BackMsg()
        asked = message.rerun_script
        asked.query_string, asked.page_name, asked.page_script_hash = self._query, self._page_name, self._page_hash
        asked.widget_states.widgets.extend([*self._states.values(), *momentary])
        asked.cached_message_hashes.extend(self._messages)
        asked.context_info.timezone, asked.context_info.locale = "UTC", "en-US"
        asked.context_info.url = f"{self._address}/{self._page_name}"
        return message

    async def _repeat(self, wish: AutoRerun) -> None:
        """Ask for a part of the page again and again, as the page wishes."""
        assert self._connection is not None
        while True:
            await asyncio.sleep(wish.interval)
            message = self._message([])
            message.rerun_script.fragment_id, message.rerun_script.is_auto_rerun = wish.fragment_id, True
            await self._connection.send(message.SerializeToString())

    def _stop_repeating(self) -> None:
        for task in self._repeating:
            task.cancel()
        self._repeating = []

    async def _read(self, connection: ClientConnection) -> None:
        try:
            async for data in connection:
                message = ForwardMsg()
                message.ParseFromString(data if isinstance(data, bytes) else data.encode())
                self._take(message)
        except ConnectionClosed:
            pass
        finally:
            self._answered.set()

    def _take(self, message: ForwardMsg) -> None:
        kind = message.WhichOneof("type")
        if kind == "ref_hash":
            known = self._messages[message.ref_hash]
            self._element(known.delta.new_element)
        elif kind == "delta":
            if message.metadata.cacheable:
                self._messages[message.hash] = message
            if message.delta.WhichOneof("type") == "new_element":
                self._element(message.delta.new_element)
        elif kind == "new_session":
            self._page_hash = message.new_session.page_script_hash
            if not message.metadata.run.fragment_ids:
                self._seen = {}
                self._stop_repeating()
        elif kind == "page_info_changed":
            self._query = message.page_info_changed.query_string
        elif kind == "auto_rerun":
            self._repeating.append(asyncio.create_task(self._repeat(message.auto_rerun)))
        elif kind == "script_finished":
            if message.script_finished == ForwardMsg.FINISHED_WITH_COMPILE_ERROR:
                self.problems.append("The page's script cannot be compiled.")
            if message.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY:
                # What the page has no more, a browser forgets.
                self.widgets = self._seen
                there = {widget.id for widget in self.widgets.values()}
                self._states = {id_: state for id_, state in self._states.items() if id_ in there}
                self._answered.set()

    def _element(self, element: Any) -> None:
        kind = element.WhichOneof("type")
        if kind == "exception":
            self.problems.append(f"{element.exception.type}: {element.exception.message}")
        elif kind == "alert" and element.alert.format == Alert.ERROR:
            self.problems.append(element.alert.body)
        widget: Any = getattr(element, kind) if kind else None
        if not getattr(widget, "id", ""):
            return
        self._seen[widget.id.split("-", 2)[-1]] = widget
        if widget.id not in self._states or getattr(widget, "set_value", False):
            state = _initial(widget)
            if state is not None:
                self._states[widget.id] = state


def _initial(widget: Any) -> WidgetState | None:
    """The state that a browser gives a widget when it first sees it, or when the server sets it; None without one."""
    match type(widget).__name__:
        case "Selectbox":
            if widget.set_value:
                return _state_of(widget, widget.raw_value) if widget.HasField("raw_value") else None
            return _state_of(widget, widget.options[widget.default]) if widget.HasField("default") else None
        case "MultiSelect" | "ButtonGroup":
            options = options_of(widget)
            chosen = list(widget.raw_values) if widget.set_value else [options[index] for index in widget.default]
            return _state_of(widget, chosen)
        case "Checkbox":
            return _state_of(widget, widget.value if widget.set_value else widget.default)
        case _:
            return None


def options_of(widget: Any) -> list[str]:
    """What can be chosen in a widget, as it is shown."""
    return [one if isinstance(one, str) else one.content for one in widget.options]


def _state_of(widget: Any, choice: Choice) -> WidgetState:
    state = WidgetState(id=widget.id)
    if type(widget).__name__ == "Button":
        state.trigger_value = True
    elif isinstance(choice, bool):
        state.bool_value = choice
    elif isinstance(choice, str):
        state.string_value = choice
    elif isinstance(choice, Mapping):
        state.string_value = json.dumps(choice)
    else:
        state.string_array_value.data.extend(choice)
    return state


def fetch(urls: Iterable[str]) -> int:
    """Load the files that a browser loads at its first visit, as it would: compressed, one after the other; bytes."""
    size = 0
    for url in urls:
        request = urllib.request.Request(url, headers={"Accept-Encoding": "gzip"})
        with urllib.request.urlopen(request, timeout=ANSWER_WITHIN_S) as answer:
            size += len(answer.read())
    return size
