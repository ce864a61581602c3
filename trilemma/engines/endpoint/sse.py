"""Server-sent events, out of bytes as they come (WHATWG HTML, section 9.2.6), as far as OpenAI's routes use them."""

from __future__ import annotations

from trilemma.errors import EngineError

MAX_EVENT_BYTES = 1 << 20


class EventParser:
    """Gives the data of each event once its blank line has come, however the bytes are cut."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of the events that ``chunk`` completes.

        Raises:
            EngineError: an event is larger than :data:`MAX_EVENT_BYTES`.
        """
        text = self._rest + chunk
        # A carriage return at the end may be half of an end of line.
        held = text.endswith(b"\r")
        lines = (text[:-1] if held else text).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest = lines.pop() + (b"\r" if held else b"")
        found = []
        for line in lines:
            if not line:
                if self._data:
                    found.append(b"\n".join(self._data))
                self._data, self._size = [], 0
            elif line.startswith(b"data:"):
                value = line[6:] if line.startswith(b"data: ") else line[5:]
                self._data.append(value)
                self._size += len(value) + 1  # with the end of line that joins it to the next
            # Comments, which keep a connection alive, and event names and numbers say nothing here.
        if len(self._rest) + self._size > MAX_EVENT_BYTES:
            raise EngineError("The server sent an endless event.", "It does not speak OpenAI's routes.")
        return found
