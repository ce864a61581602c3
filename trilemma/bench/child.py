"""The measured process as its supervisor sees it: start, read events without blocking, end."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
from contextlib import suppress
from typing import IO, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from trilemma.limits import cpus_apart, started_on
from trilemma.schema import DeviceProfile, Frozen

_READ_BYTES = 1 << 16
E = TypeVar("E")


class Child(Generic[E]):
    """A process with an engine in it, and the pipe that its events come through.

    Args:
        module: What it runs.
        document: What it is to do; sent to its standard input.
        events: What comes back, one JSON object a line.
        device: Whose CPUs it gets; None for all of this machine's.
        log: Where its standard error goes; None to inherit.
        held: Leave its standard input open, so that it can wait for :meth:`release`.
    """

    def __init__(
        self,
        module: str,
        document: Frozen,
        events: TypeAdapter[E],
        device: DeviceProfile | None = None,
        log: IO[bytes] | None = None,
        *,
        held: bool = False,
    ) -> None:
        self._events = events
        self.cpus = cpus_apart(device.cores) if device and device.cores else None
        with started_on(self.cpus):
            self._process = subprocess.Popen(
                [sys.executable, "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=_environment(),
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in = self._process.stdin
        self._out = self._process.stdout
        os.set_blocking(self._out.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._out, selectors.EVENT_READ)
        self._buffer = b""
        self.pid = self._process.pid
        self.garbled: list[str] = []
        self._open = True
        with suppress(BrokenPipeError):  # it died at once; its exit status says why
            self._in.write(document.model_dump_json().encode() + b"\n")
            self._in.flush()
        if not held:
            self.release()

    def events(self, timeout_s: float) -> list[E]:
        """The events that have arrived, after waiting for at most ``timeout_s`` for the first."""
        if not self._open:
            return []
        ended = self._process.poll() is not None
        if not self._selector.select(0 if ended else timeout_s):
            # What it wrote before it ended was read. A process that it left behind may hold the pipe open for ever.
            self._open = not ended
            return []
        data = self._out.read(_READ_BYTES)
        if data == b"":
            self._open = False
        *lines, self._buffer = (self._buffer + (data or b"")).split(b"\n")
        return [event for line in lines if (event := self._parse(line)) is not None]

    def _parse(self, line: bytes) -> E | None:
        try:
            return self._events.validate_json(line)
        except ValidationError:
            self.garbled.append(line[:200].decode(errors="replace"))
            return None

    @property
    def finished(self) -> bool:
        """Whether it has ended and every event was read."""
        return not self._open and self._process.poll() is not None

    @property
    def exit_status(self) -> int | None:
        """As ``subprocess``: negative for a signal, None while it runs."""
        return self._process.poll()

    def release(self) -> None:
        """Close its standard input: what waits for that goes on."""
        with suppress(BrokenPipeError):
            self._in.close()

    def kill(self) -> None:
        """End it now."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Release the pipes, ending the process if it still runs."""
        self.kill()
        self.release()
        self._selector.close()
        self._out.close()


def _environment() -> dict[str, str]:
    """No usage statistics, no hub telemetry, and no thread limit that was meant for somebody else."""
    environment = dict(os.environ)
    for name in ("OMP_NUM_THREADS", "OMP_THREAD_LIMIT"):
        environment.pop(name, None)
    return {
        **environment,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "PYTHONUNBUFFERED": "1",
    }


def describe_exit(status: int, oom_kills: int, who: str = "the measured process") -> str:
    """Why a process ended that did not say so itself.

    Args:
        status: As ``subprocess`` gives it.
        oom_kills: How many processes the kernel killed for want of memory meanwhile.
        who: What to call it.
    """
    named = who[:1].upper() + who[1:]
    if status >= 0:
        return f"{named} ended with exit status {status} without saying why. See the end of the log."
    name = signal.Signals(-status).name
    if -status == signal.SIGKILL and oom_kills > 0:
        return (
            f"The kernel ended {who} because memory ran out. "
            "Choose fewer bits per weight, a shorter context or a smaller KV-cache type."
        )
    if -status == signal.SIGKILL:
        return (
            f"{named} was killed (SIGKILL) from outside; if nobody did so on purpose, memory ran out. "
            "Retry, or choose fewer bits per weight or a shorter context."
        )
    if -status == signal.SIGILL:
        return (
            "The engine crashed: it was compiled for another CPU, or wrongly for this one (SIGILL). "
            "Install the engine again on this machine so that it is compiled here."
        )
    return f"The engine crashed ({name}). See the end of the log; the artifact or a setting may be to blame."
