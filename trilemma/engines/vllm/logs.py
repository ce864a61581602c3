"""What vLLM's processes write to standard error: passed on, and its end kept, for that is where their reasons are.

Its workers are processes of their own; when one fails, the process that asked is told only that it did.
"""

from __future__ import annotations

import os
import re
import threading
from collections import deque

from trilemma.errors import EngineError, LoadError, OutOfMemoryError
from trilemma.schema import Artifact

_REASON = re.compile(r"((?:[A-Za-z_]+\.)*[A-Z]\w*(?:Error|Exception): .+)")
_EMPTY = re.compile(r"initialization failed|EngineDeadError|EngineCore encountered|WorkerProc|RuntimeError: cancelled$")
_KEPT_LINES = 400
_REASON_CHARS = 400


def shortened(reason: str) -> str:
    """One line of a reason, without the full stop that the sentence around it brings."""
    return reason.strip().splitlines()[0][:_REASON_CHARS].rstrip(". ") if reason.strip() else ""


class StderrTail:
    """Stands between standard error and everybody who writes to it from here on, children included."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._original = os.dup(2)
        read, write = os.pipe()
        os.dup2(write, 2)
        os.close(write)
        self._thread = threading.Thread(target=self._pass_on, args=(read,), name="stderr", daemon=True)
        self._thread.start()

    def _pass_on(self, read: int) -> None:
        rest = b""
        while data := os.read(read, 1 << 16):
            os.write(self._original, data)
            *lines, rest = (rest + data).split(b"\n")
            self._lines.extend(line.decode(errors="replace") for line in lines)
            rest = rest[-4096:]
        os.close(read)

    def reason(self) -> str:
        """The first error since the start that says what was wrong; empty where there is none."""
        found = [match[1] for line in list(self._lines) if (match := _REASON.search(line))]
        told = [reason for reason in found if not _EMPTY.search(reason)]
        return shortened(told[0]) if told else ""

    def forget(self) -> None:
        """Begin anew: what was said until now was no reason for what follows."""
        self._lines.clear()

    def close(self) -> None:
        """Give standard error back; what children that are still alive write goes on being passed on."""
        os.dup2(self._original, 2)


def load_error(artifact: Artifact, reason: str) -> EngineError:
    """Why the artifact was refused, and what can be done about that kind of reason."""
    message = f"vLLM cannot load {artifact.label}: {reason}."
    low = reason.lower()
    if "memory" in low or "kv cache" in low:
        return OutOfMemoryError(message, "Choose fewer slots, a shorter context or a smaller data type.")
    if "quantization" in low or "kernel" in low or "_c::" in low:
        return LoadError(message, "This device has no kernels for it: choose another quantization or machine.")
    if "architecture" in low:
        return LoadError(message, "Update vLLM if the architecture is new, or choose another model.")
    return LoadError(message, "See the end of the log; the artifact or a setting may be to blame.")
