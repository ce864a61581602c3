"""One run on a machine of a Ray cluster, as the worker here holds it."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from itertools import dropwhile
from pathlib import Path
from typing import Any, TypeVar

import trilemma
from trilemma.catalog.files import HashCache
from trilemma.catalog.share import Share
from trilemma.errors import StoreError, TrilemmaError
from trilemma.jobs.base import Command, Ending
from trilemma.jobs.parcel import Greeting, Parcel, Report, artifacts_of, files_of, pack, parcel_of, unpack
from trilemma.needs import engine_of
from trilemma.records import RunRecord, WholeRun
from trilemma.schema import RunState
from trilemma.settings import Settings
from trilemma.store import Store
from trilemma.store.kept import patiently

log = logging.getLogger(__name__)

T = TypeVar("T")

_putting = threading.Lock()
"""Two runs may lack the same weights; the second finds them put."""
ANSWER_S = 10.0
_LOST_S = 60.0
"""A machine that Ray holds for alive, but that has not answered for so long, is lost."""
_LONGEST = 400
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
"""Ray's tracebacks have some."""
_AGENT_S = 180.0
"""How long its first answer may take: before it a process is started, perhaps beside others."""


class Journey:
    """What one run's agent is asked, and what is sent to it."""

    def __init__(self, settings: Settings, ray: Any, agent: Any, run: RunRecord, store: Store) -> None:
        self._settings = settings
        self._ray = ray
        self._agent = agent
        self.run = run
        self.store = store
        self.patience_s = settings.database_patience_s
        self.over = threading.Event()
        """Set when nothing that it brings counts any more."""

    def begin(self, worker_id: str, command: Command) -> Ending | None:
        """Bring the run to the machine and start it there; None if it has begun, else what became of it.

        Raises:
            TrilemmaError: the run's weights or files cannot be sent.
            RayError: the machine is gone.
        """
        try:
            greeting = unpack(Greeting, self._ask("hello"))
        except ValueError as error:  # as of another version, which knows other fields
            why = f"{self.run.machine} is not understood ({_words(error)}). Install the same Trilemma there."
            return Ending(1, why, refused=True)
        if (unfit := self._unfit(greeting)) is not None:
            return unfit
        artifacts = artifacts_of(self.store, self.run)
        missing = self._ask("missing", pack(Parcel(run=self.run, artifacts=artifacts)))
        if missing and self._settings.artifacts_url:
            share, hashes = Share(self._settings.artifacts_url), HashCache(self._settings.home)
            for artifact in artifacts:
                if artifact.id in missing:
                    self.store.set_progress(self.run.id, 0.0, f"Putting {artifact.label} where the machine can get it")
                    with _putting:
                        share.put(artifact, hashes)
        parcel = pack(parcel_of(self.store, self.run, greeting.host))
        if self.over.is_set():  # the store may be at another attempt by now
            return Ending(1, "It was ended before it had begun.")
        self.store.start_run(self.run.id, greeting.host, self.run.attempt)
        files = files_of(self._settings, self.run)
        ending = unpack(Report, self._ask("start", parcel, files, worker_id, command)).ending
        if ending is None or not ending.refused:
            return ending
        gone = [one for one in artifacts if one.id in missing and not Path(one.path).exists()]
        if gone and not self._settings.artifacts_url:
            return ending._replace(refused=False)  # no machine gets from here what is not here
        return ending._replace(explanation=f"{self.run.machine} does not take it: {ending.explanation}")

    def _unfit(self, greeting: Greeting) -> Ending | None:
        """What becomes of the run on a machine that is not as it has to be."""
        name, spec = self.run.machine, self.run.spec
        if greeting.trilemma != trilemma.__version__:
            why = (
                f"{name} has Trilemma {greeting.trilemma}, the worker {trilemma.__version__}. "
                "Install the same version on every machine, and start `trilemma node` there again."
            )
            return Ending(1, why, refused=True)
        if greeting.host.name != name:
            return Ending(-9, f"{name} answers as {greeting.host.name or 'a machine without a name'}.", lost=True)
        if why := self._ask("unfit", pack(spec)):
            engine = engine_of(spec.configuration.engine, spec.engine_version)
            return Ending(1, f"{name} does not take it: {why}", refused=True, engine=engine)
        return None

    def report(self, after_ns: int, log_offset: int) -> tuple[Report, bytes]:
        """How it stands.

        Raises:
            RayError: the machine does not answer, now or any more.
        """
        document, text = self._ask("report", after_ns, log_offset, timeout=ANSWER_S)
        return unpack(Report, document), text

    def results(self) -> WholeRun:
        """All that the run has recorded.

        Raises:
            RayError: the machine does not answer, now or any more.
        """
        # It may be much: so it has as long as a machine may be silent.
        return unpack(WholeRun, self._ask("results", timeout=_LOST_S))

    def stop(self, grace_s: float) -> Ending:
        """End it.

        Raises:
            RayError: the machine does not answer, now or any more.
        """
        ending = unpack(Report, self._ask("stop", grace_s, timeout=grace_s + ANSWER_S)).ending
        assert ending is not None, "an agent that has stopped says how"
        return ending

    def gone(self, error: Exception) -> bool:
        """Whether what an agent did not answer with means that it never will."""
        errors = self._ray.exceptions
        return isinstance(error, errors.RayActorError) and not isinstance(error, errors.ActorUnavailableError)

    def unmade(self, error: Exception) -> bool:
        """Whether the agent could not even be made: so it is the machine that something is wrong with."""
        return self.gone(error) and bool(getattr(error, "actor_init_failed", False))

    def unreached(self, error: Exception) -> bool:
        """Whether it was the machine or the way to it that failed, and not what the agent did."""
        errors = self._ray.exceptions
        return isinstance(error, errors.RayError) and not isinstance(error, errors.RayTaskError)

    def cause(self, error: Exception) -> str:
        """Why an agent is given up that does not answer, in words that follow its machine's name."""
        if not self.gone(error):
            return f"does not answer any more ({_words(error)})"
        if self.unmade(error):
            return f"could not begin ({_words(error)})"
        # Ray's words; what they do not say is taken for the machine's end.
        return (
            "lost the process that watches over the run" if "its worker process has died" in str(error) else "was lost"
        )

    def _ask(self, question: str, *arguments: Any, timeout: float | None = None) -> Any:
        return self._ray.get(getattr(self._agent, question).remote(*arguments), timeout=timeout)


class RayHandle:
    """A run's process on another machine.

    Bringing the run there may take minutes, in which it can be cancelled: a thread does it. A machine on which it
    does not begin is reported to ``leave_out``, with the reason.
    """

    identity = None

    def __init__(
        self, journey: Journey, machine: str, worker_id: str, command: Command, log_path: Path,
        leave_out: Callable[[str, str, str], None],
    ) -> None:  # fmt: skip
        self._journey = journey
        self._machine = machine
        self._log_path = log_path
        self._leave_out = leave_out
        self._log_size = 0
        self._last_ns = -1
        self._answered = time.monotonic()
        self._silence_s = _AGENT_S
        self._ending: Ending | None = None
        self._begun = threading.Event()
        log_path.write_bytes(b"")  # of this attempt alone
        self._thread = threading.Thread(target=self._begin, args=(worker_id, command), daemon=True)
        self._thread.start()

    def poll(self) -> Ending | None:
        """None while it runs. Brings samples, progress and log along, and when it has ended all that it recorded.

        Raises:
            StoreError: the store cannot be written now; nothing is lost by it.
        """
        if self._ending is not None:
            return self._ending
        answer = self._heard(lambda: self._journey.report(self._last_ns, self._log_size))
        if answer is None:
            return self._ending
        report, text = answer
        if report.ending is None:  # else the results are still to be heard
            self._hears()
        try:
            ended = self._take(report, text)
        except StoreError:
            if self._mine():
                raise
            self._ending = Ending(1, "The run is no longer this worker's.")
            return self._ending
        if ended and (ending := report.ending) is not None:
            where = f"{self._machine}: " if ending.lost else ""
            self._ending = ending._replace(explanation=f"{where}{ending.explanation}")
        return self._ending

    def stop(self, grace_s: float) -> Ending:
        """End it there; what it recorded until then is brought here if it was asked to end and did."""
        if self._ending is None:
            try:
                ending = self._journey.stop(grace_s)
                if grace_s > 0 and self._begun.is_set():
                    self._journey.store.take_over(self._journey.results())
            except Exception as error:  # whatever it is, the slot is given back, and the agent with it
                log.info("Run %s could not be ended in order: %s", self._journey.run.id, _words(error))
                ending = Ending(-9, "It was ended with its agent.")
            self._ending = ending
        self._journey.over.set()
        return self._ending

    def _begin(self, worker_id: str, command: Command) -> None:
        try:
            # The store is asked before the agent is told to start: so all of it may be done again.
            ending = patiently(
                lambda: self._journey.begin(worker_id, command), self._journey.patience_s, self._journey.over.is_set
            )
        except TrilemmaError as error:
            ending = Ending(1, str(error))
        except Exception as error:
            if self._journey.unreached(error):
                log.warning("%s does not take a run: %s", self._machine, _words(error))
                ending = self._lost(error)
            else:
                ending = Ending(1, f"{self._machine} cannot measure it ({_words(error)}). Retry it.")
        if ending is None:
            self._begun.set()
        else:
            self._end(ending)

    def _end(self, ending: Ending) -> None:
        """End it, and where it had not begun for something of the machine's, let that have no other at once."""
        if (ending.lost or ending.refused) and not self._begun.is_set() and self._ending is None:
            self._leave_out(self._machine, ending.explanation, ending.engine)
        self._ending = ending

    def _heard(self, ask: Callable[[], T]) -> T | None:
        """The answer; None while there is none, the ending set if there never will be one."""
        try:
            return ask()
        except Exception as error:
            log.warning("%s does not answer: %s", self._machine, _words(error))
            if self._journey.gone(error) or time.monotonic() - self._answered > self._silence_s:
                self._end(self._lost(error))
            return None

    def _hears(self) -> None:
        self._answered, self._silence_s = time.monotonic(), _LOST_S

    def _take(self, report: Report, text: bytes) -> bool:
        """Bring a report here; whether the run has ended and all of it is here."""
        store, run_id = self._journey.store, self._journey.run.id
        if text:
            try:
                with self._log_path.open("ab") as file:
                    file.write(text)
            except OSError as error:  # the disk here is full: no reason to end what is measured there
                log.warning("%s cannot be written: %s", self._log_path, error.strerror)
            self._log_size += len(text)
        if report.ending is not None:
            whole = self._heard(self._journey.results)
            if whole is None:
                return False
            self._hears()
            store.take_over(whole)
            return True
        progress = (report.fraction, report.note, report.phase, report.remaining_s)
        store.write_batch(run_id, samples=report.samples, progress=progress if report.begun or report.note else None)
        if report.samples:
            self._last_ns = report.samples[-1].time_ns
        return False

    def _mine(self) -> bool:
        now = self._journey.store.run(self._journey.run.id)
        return now.state is RunState.RUNNING and now.attempt == self._journey.run.attempt

    def _lost(self, error: Exception) -> Ending:
        unmade = self._journey.unmade(error)
        return Ending(-9, f"{self._machine} {self._journey.cause(error)}.", lost=not unmade, refused=unmade)


def _words(error: Exception) -> str:
    """What an error says, in one line; of one that came with a traceback, as Ray's do, what was raised there."""
    lines = _COLOURS.sub("", str(error)).splitlines()
    frames = [number for number, line in enumerate(lines) if line.startswith('  File "')]
    if frames:
        lines = list(dropwhile(lambda line: line.startswith("    "), lines[frames[-1] + 1 :]))
    text = " ".join(" ".join(lines).split())[:_LONGEST].rstrip(".")
    return text if frames else f"{type(error).__name__}: {text}".rstrip(": ")
