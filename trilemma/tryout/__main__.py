"""``python -m trilemma.tryout``: the host of one prompt, asked on standard input and telling on standard output.

It holds the device for as long as it runs: until every configuration has answered, or until its input is closed, as the
system does when the dashboard is gone.
"""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from trilemma import registry
from trilemma.bench.budget import check_fits
from trilemma.bench.child import Child, describe_exit
from trilemma.bench.run_log import tail_of
from trilemma.errors import TrilemmaError
from trilemma.limits import oom_kills
from trilemma.meters.base import Meter, Target
from trilemma.meters.sampler import Sampler, open_meters
from trilemma.settings import Settings, get_settings
from trilemma.store import Store, open_store
from trilemma.tryout.device import check_queue, reserve
from trilemma.tryout.gauge import Gauge
from trilemma.tryout.messages import WORD, Ask, Contender, Failed, Loading, Ready, Task, Told, Word, Written, clean

_LOOK_S = 0.1
_READ_EVERY_S = 0.5
_UNLOAD_WITHIN_S = 5.0
_ANSWERING = "trilemma.tryout.answering"
_PR_SET_CHILD_SUBREAPER = 36


class Host:
    """Has configurations answer one after the other, each loaded alone.

    Args:
        ask: What is asked, and whom.
        store: Where the queue is; nothing is written to it.
        settings: Of the store.
        say: Told each word on a configuration, by its id.
        gone: Says when nobody wants answers any more.
        meters: What to sample; None for every registered meter that works here.
    """

    def __init__(
        self,
        ask: Ask,
        store: Store,
        settings: Settings,
        say: Callable[[str, Word], None],
        gone: Callable[[], bool],
        meters: Sequence[Meter] | None = None,
    ) -> None:
        self._ask, self._store, self._settings = ask, store, settings
        self._say, self._gone = say, gone
        self._sampler = Sampler(open_meters() if meters is None else meters)

    def run(self) -> None:
        """Answer; the device is held meanwhile, and free again after it."""
        left = [*self._ask.contenders]
        try:
            reservation = reserve(self._settings, self._store)
            try:
                with self._sampler:
                    self._sampler.start(Target(None, self._ask.energy))
                    while left and not self._gone():
                        check_queue(self._store)
                        self._turn(left.pop(0))
            finally:
                reservation.release()
        except TrilemmaError as error:  # the device is not to be had, or not any longer
            for contender in left:
                self._fail(contender, str(error))

    def _fail(self, contender: Contender, reason: str, log: Path | None = None) -> None:
        told = clean(tail_of(log, [])) if log else ""
        self._say(contender.id, Failed(reason=clean(reason), log=told))

    def _turn(self, contender: Contender) -> None:
        """One configuration answers, or fails, and its process is gone."""
        configuration = contender.configuration
        try:
            check_fits(registry.load("trilemma.engines", configuration.engine)(), contender.artifact, configuration)
        except TrilemmaError as error:
            self._fail(contender, str(error))
            return
        self._say(contender.id, Loading())
        kills, others = oom_kills(), _descendants()
        task = Task(contender=contender, question=self._ask.question)
        with tempfile.NamedTemporaryFile() as log:
            child = Child(_ANSWERING, task, WORD, configuration.profile, log, held=True)
            try:
                self._follow(contender, child, kills, Path(log.name))
            finally:
                self._sampler.retarget(None)
                _end(child, others, 0.0 if self._gone() else _UNLOAD_WITHIN_S)

    def _follow(self, contender: Contender, child: Child[Word], kills: int, log: Path) -> None:
        gauge = Gauge(self._sampler, contender.configuration, self._ask.energy, child.pid)
        read_at = time.monotonic()
        while not child.finished:
            for word in child.events(_LOOK_S):
                match word:
                    case Failed():
                        self._fail(contender, word.reason, log)
                        return
                    case Ready():
                        gauge.ready(word)
                self._say(contender.id, word)
                if isinstance(word, Written) and word.ended:
                    if word.last_ns is not None:
                        self._say(contender.id, gauge.over(word.submitted_ns, word.last_ns))
                    return
            if self._gone():
                return
            if time.monotonic() - read_at >= _READ_EVERY_S:
                read_at = time.monotonic()
                self._say(contender.id, gauge.now())
        who = f"the process of {contender.artifact.label}"
        why = describe_exit(child.exit_status or 0, oom_kills() - kills, who)
        self._fail(contender, why, log)


def adopt_orphans(wanted: bool = True) -> None:
    """Have the kernel give this process what its children leave behind, so that it can be found and ended (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, int(wanted))


def _descendants() -> set[psutil.Process]:
    with suppress(psutil.Error):
        return set(psutil.Process().children(recursive=True))
    return set()


def _end(child: Child[Word], others: set[psutil.Process], within_s: float) -> None:
    """Wait until it has unloaded, ``within_s`` seconds at most, and kill it with all that it started: everything that
    descends from us, ``others`` aside."""
    child.release()
    deadline = time.monotonic() + within_s
    while not child.finished and time.monotonic() < deadline:
        child.events(_LOOK_S)
        time.sleep(0.01)
    left = _descendants() - others
    child.close()
    left = {one for one in left | (_descendants() - others) if one.pid != child.pid}
    for process in left:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, timeout=_UNLOAD_WITHIN_S)  # what it held is free before the next one is loaded


def main() -> int:
    """Exit status 0 when each configuration has been told of, or nobody listens any more."""
    adopt_orphans()
    ask = Ask.model_validate_json(sys.stdin.buffer.readline())
    gone = threading.Event()

    def wait_for_end() -> None:
        while os.read(sys.stdin.fileno(), 1024):  # not through the buffer, whose lock the interpreter's end waits for
            pass
        gone.set()

    threading.Thread(target=wait_for_end, name="input", daemon=True).start()
    with suppress(BrokenPipeError), os.fdopen(os.dup(sys.stdout.fileno()), "wb") as out:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

        def say(configuration_id: str, word: Word) -> None:
            out.write(Told(configuration_id=configuration_id, word=word).model_dump_json().encode() + b"\n")
            out.flush()

        settings = get_settings()
        settings.ensure_home()
        with open_store(settings.database_url) as store:
            Host(ask, store, settings, say, gone.is_set).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
