"""One prompt and what becomes of it, as the dashboard follows it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from trilemma.bench.child import describe_exit
from trilemma.bench.run_log import tail_of
from trilemma.errors import StoreError
from trilemma.limits import oom_kills
from trilemma.settings import Settings
from trilemma.tryout.messages import TOLD, Ask, Failed, Loading, Reading, Ready, Told, Written, clean

UNSEEN_S = 120.0
"""A round that no page has looked at for so long is stopped, s; a browser may draw a hidden tab once a minute."""
_END_WITHIN_S = 8.0
_UNSEEN = "nobody was looking"
_HOST = (sys.executable, "-m", "trilemma.tryout")

_live: set[Round] = set()


class State(StrEnum):
    """How far one configuration's answer is."""

    WAITING = "waits for its turn"
    LOADING = "loads its weights"
    READING = "reads the prompt"
    WRITING = "writes"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def final(self) -> bool:
        """Whether nothing more comes but a last reading."""
        return self in (State.DONE, State.STOPPED, State.FAILED)


@dataclass(frozen=True)
class Answer:
    """One configuration's answer so far; nothing in it is to be trusted.

    ``reason`` and ``log`` say why it failed or was stopped.
    """

    state: State = State.WAITING
    written: Written | None = None
    reading: Reading | None = None
    load_s: float | None = None
    reason: str = ""
    log: str = ""

    @property
    def text(self) -> str:
        """What is written so far."""
        return self.written.text if self.written else ""


class Round:
    """A prompt with an answer a configuration; begins when it is made.

    A thread follows the host and writes; any thread may read: answers are replaced, never changed. The host leads a
    process group of its own, which holds all that it starts, and ends when the pipe to it is closed, as the system does
    when this process ends, however that goes.

    Args:
        settings: Of the store.
        ask: What is asked, and whom.
        command: What to start.
        unseen_s: Stop when nobody has called :meth:`look` for so long, s.

    Raises:
        StoreError: the host cannot be started.
    """

    def __init__(
        self, settings: Settings, ask: Ask, *, command: Sequence[str] = _HOST, unseen_s: float = UNSEEN_S
    ) -> None:
        self.ask = ask
        self.answers: dict[str, Answer] = {one.id: Answer() for one in ask.contenders}
        self.over = False
        self._unseen_s = unseen_s
        self._stopped = False
        self._why = ""
        self._seen = time.monotonic()
        environment = os.environ | {"TRILEMMA_HOME": str(settings.home), "TRILEMMA_DATABASE": settings.database_url}
        self._lock = threading.Lock()
        self._kills = oom_kills()
        try:
            with ExitStack() as undo:
                self._log = undo.enter_context(tempfile.NamedTemporaryFile())
                self._host = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, env=environment,
                    start_new_session=True,
                )  # fmt: skip
                undo.pop_all()  # closed when the host has ended
        except OSError as error:
            raise StoreError(f"The try-out cannot be started ({error}).", "Check the disk and memory.") from error
        _live.add(self)
        self._thread = threading.Thread(target=self._follow, name="tryout", daemon=True)
        self._thread.start()

    def look(self) -> dict[str, Answer]:
        """The answers so far, by configuration id: somebody still wants them."""
        self._seen = time.monotonic()
        return self.answers

    def stop(self, why: str = "") -> None:
        """End it: what is written stays. Returns at once; ``why`` is kept with the answers that it cuts short."""
        if self._stopped or self.over:
            return
        self._stopped, self._why = True, why
        # Before the pipe is closed, which waits for a host that does not read.
        timer = threading.Timer(_END_WITHIN_S, self._kill)
        timer.daemon = True
        timer.start()
        self._close()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait until it is over."""
        self._thread.join(timeout_s)

    def _close(self) -> None:
        assert self._host.stdin is not None
        with self._lock, suppress(OSError):
            self._host.stdin.close()

    def _kill(self) -> None:
        """Kill the host with all that it started. Until it is waited for, its number is nobody else's."""
        if self._host.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._host.pid, signal.SIGKILL)

    def _follow(self) -> None:
        assert self._host.stdout is not None
        try:
            self._hear()
        finally:  # however that went, nothing is left and nobody waits for ever
            self._kill()
            self._host.wait()
            self._close()
            self._host.stdout.close()
            self._log.close()
            self.over = True
            _live.discard(self)

    def _hear(self) -> None:
        """Take in what the host says until it has ended, and see that it has."""
        assert self._host.stdin is not None
        assert self._host.stdout is not None
        with self._lock, suppress(OSError, ValueError):  # it died at once, or was stopped: what follows says so
            self._host.stdin.write(self.ask.model_dump_json().encode() + b"\n")
            self._host.stdin.flush()
        for line in self._host.stdout:
            with suppress(ValueError):
                self._take(TOLD.validate_json(line))
            if not self._stopped and time.monotonic() - self._seen > self._unseen_s:
                self.stop(_UNSEEN)
        if not self._stopped and not self._all_final:
            self._kill()  # it is gone without a word; what it started may not be
        try:
            status = self._host.wait(_END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._kill()
            status = self._host.wait()
        if not self._all_final:
            self._give_up(status)

    @property
    def _all_final(self) -> bool:
        return all(answer.state.final for answer in self.answers.values())

    def _take(self, told: Told) -> None:
        """Take in a word. Of an answer that is finished only a reading is believed: that of the whole answer."""
        answer = self.answers.get(told.configuration_id)
        if answer is None or (answer.state.final and not isinstance(told.word, Reading)):
            return
        match told.word:
            case Loading():
                answer = replace(answer, state=State.LOADING)
            case Ready(load_s=load_s):
                answer = replace(answer, state=State.READING, load_s=load_s)
            case Written() as written:
                answer = replace(answer, state=State.DONE if written.ended else State.WRITING, written=written)
            case Reading() as reading:
                answer = replace(answer, reading=reading)
            case Failed(reason=reason, log=log):
                answer = replace(answer, state=State.FAILED, reason=reason, log=log)
        self.answers = self.answers | {told.configuration_id: answer}

    def _give_up(self, status: int) -> None:
        """Nothing more comes: what is not finished was stopped, or failed with the host."""
        if self._stopped:
            changes: dict[str, object] = {"state": State.STOPPED, "reason": self._why}
        else:
            reason = describe_exit(status, oom_kills() - self._kills, "the try-out's process")
            changes = {"state": State.FAILED, "reason": reason, "log": clean(tail_of(Path(self._log.name), []))}
        self.answers = {
            one: answer if answer.state.final else replace(answer, **changes)  # type: ignore[arg-type]
            for one, answer in self.answers.items()
        }


def machine_taken() -> bool:
    """Whether a try-out of this process keeps the queue waiting."""
    return bool(_live)
