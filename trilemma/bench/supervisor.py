"""The supervisor of one run: samples the meters, reads the measured process's events, writes everything as it goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from trilemma import registry
from trilemma.bench.budget import MemoryWatch, check_fits, verdict_measurements, with_emulation
from trilemma.bench.child import Child, describe_exit
from trilemma.bench.earlier import known_answers, rivals_of
from trilemma.bench.efficiency import SERVING, serving_samples
from trilemma.bench.events import (
    EVENT,
    AnswerEvent,
    EngineEvent,
    Event,
    FailureEvent,
    MeasurementEvent,
    PhaseEvent,
    ProgressEvent,
    RequestEvent,
    TargetEvent,
)
from trilemma.bench.gpu_watch import GpuWatch
from trilemma.bench.plan import Plan, check_engine
from trilemma.bench.recorder import Pending, Recorder
from trilemma.bench.results import Evidence, disturbances_of, summarise, with_task_energy
from trilemma.bench.run_log import tail_of
from trilemma.effort import suite_seconds
from trilemma.engines.base import Engine
from trilemma.engines.remote import MeteredElsewhere
from trilemma.errors import DoesNotFitError, RunCancelledError, RunError, RunTimeoutError, TrilemmaError
from trilemma.limits import oom_kills
from trilemma.meters.base import EnergyDomain, Meter, Target
from trilemma.meters.host import host_info
from trilemma.meters.prometheus import PrometheusMeter
from trilemma.meters.sampler import Sampler, open_meters
from trilemma.records import PhaseWindow, RunRecord
from trilemma.schema import Artifact, Measurement, Phase, RunState
from trilemma.settings import get_settings
from trilemma.store import Store
from trilemma.store.kept import path_of
from trilemma.workloads import traces
from trilemma.workloads.traces import TraceLine

_POLL_S = 0.1
_WRITE_EVERY_S = 1.0


class Supervisor:
    """Measures one run.

    Args:
        store: Where the run is read from and written to.
        run_id: A run in the store.
        log_path: Where the measured process's standard error goes.
        abandoned: Says when whoever asked for the run is gone; the run then ends without a verdict, to be released.
        meters: What to sample; None for every registered meter that works here.
    """

    def __init__(
        self,
        store: Store,
        run_id: str,
        log_path: Path,
        abandoned: Callable[[], bool] = lambda: False,
        meters: Sequence[Meter] | None = None,
    ) -> None:
        self._store = store
        self._run = store.run(run_id)
        kept = path_of(log_path.parent, run_id)
        self._recorder = Recorder(store, self._run, kept, get_settings().database_patience_s)
        self._log_path = log_path
        self._abandoned = abandoned
        self._cancelled = False
        self._sampler = Sampler(open_meters() if meters is None else meters, self._run.spec.sample_hz)
        self._gpus = GpuWatch(self._sampler.meters, self._run.spec)
        self._evidence = Evidence(spec=self._run.spec, artifact=self._artifact())
        self._open_phases: dict[tuple[Phase, str], PhaseWindow] = {}
        self._pending = Pending()
        self._progress = (0.0, "Reading the machine at rest", Phase.IDLE)
        self._measured_since = time.monotonic()
        self._failure = ""
        self._verdict: list[Measurement] = []
        self._child: Child[Event] | None = None
        self._power: PrometheusMeter | None = None
        self._watch: MemoryWatch | None = None

    def _artifact(self) -> Artifact:
        return self._store.artifact(self._run.spec.configuration.artifact_id)

    def cancel(self) -> None:
        """Ask the run to end; safe in a signal handler."""
        self._cancelled = True

    def measure(self) -> RunRecord | None:
        """Measure, and leave the run's verdict in the store; None when it was abandoned."""
        run_id, spec = self._run.id, self._run.spec
        self._sampler.start(Target(pid=None, energy=spec.energy))
        host = self._gpus.host(host_info())
        self._evidence.cores = host.cores
        self._recorder.patiently(lambda: self._store.start_run(run_id, host))
        state, reason = RunState.DONE, ""
        try:
            self._rest()
            self._drive()
            if self._watch:
                self._write()
                served = serving_samples(self._evidence.samples, self._evidence.windows)
                self._watch.check_peak(summarise(self._evidence), served)
        except DoesNotFitError as error:
            state, reason = RunState.DOES_NOT_FIT, str(error)
            assert spec.configuration.profile is not None
            self._verdict = verdict_measurements(spec.configuration.profile, error)
        except RunCancelledError as error:
            state, reason = RunState.CANCELLED, str(error)
        except TrilemmaError as error:
            state, reason = RunState.FAILED, str(error)
        finally:
            if self._child:
                self._child.close()
            if self._watch:
                self._watch.close()
            self._sampler.stop()
        if self._abandoned():
            return None
        self._finish(state, reason)
        return self._recorder.patiently(lambda: self._store.run(run_id))

    def _rest(self) -> None:
        """Read the idle machine for a few seconds, and see that its GPUs are ours.

        Raises:
            RunError: they are not.
        """
        self._gpus.expect()
        chosen = self._run.spec.configuration
        engine = registry.load("trilemma.engines", chosen.engine)()
        if isinstance(engine, MeteredElsewhere) and (query := engine.power_query(chosen.settings)):
            self._power = PrometheusMeter(query)
            self._sampler.add(self._power)
            self._sampler.read_now()  # the idle phase begins with a reading
        self._mark(PhaseEvent(phase=Phase.IDLE, edge="start", time_ns=time.perf_counter_ns()))
        ends = time.monotonic() + self._run.spec.idle_s
        while (left := ends - time.monotonic()) > 0:
            self._check_wanted()
            time.sleep(min(left, _POLL_S))
        self._mark(PhaseEvent(phase=Phase.IDLE, edge="end", time_ns=time.perf_counter_ns()))
        self._write()
        self._gpus.check()

    def _drive(self) -> None:
        """Start the measured process and follow it to its end.

        Raises:
            RunError: it failed, crashed, stalled, was cancelled or takes more memory than the device has.
        """
        spec = self._run.spec
        engine: Engine = registry.load("trilemma.engines", spec.configuration.engine)()
        check_engine(spec)
        check_fits(engine, self._evidence.artifact, spec.configuration)
        kills = oom_kills()
        with self._log_path.open("ab", buffering=0) as log:
            plan = self._recorder.patiently(self._plan)
            self._child = Child("trilemma.bench.measure", plan, EVENT, spec.configuration.profile, log)
        # An endpoint's server is another process, which the measured one has to find first.
        elsewhere = self._evidence.artifact.format == "endpoint"
        pid, client = (None, self._child.pid) if elsewhere else (self._child.pid, None)
        self._sampler.retarget(Target(pid=pid, energy=spec.energy, client_pid=client))
        if device := spec.configuration.profile:
            self._watch = MemoryWatch(device, self._sampler, self._run.id, self._child.pid)
        self._measured_since = last_event = last_write = time.monotonic()
        while not self._child.finished:
            events = self._child.events(_POLL_S)
            now = time.monotonic()
            last_event = now if events else last_event
            for event in events:
                self._handle(event)
            if now - last_write >= _WRITE_EVERY_S:
                self._write()
                self._gpus.check()
                last_write = now
            self._check_wanted()
            if self._watch and any(
                w.end_ns is None and w.phase in (*SERVING, Phase.GENERATION) for w in self._open_phases.values()
            ):
                self._watch.check()
            if now - last_event > spec.stall_timeout_s:
                raise RunTimeoutError(
                    f"Nothing happened for {spec.stall_timeout_s:.0f} s, so the run was ended.",
                    "The configuration may be too slow for this workload; shorten it, or raise the time limit.",
                )
        if self._watch:
            self._watch.check_end(self._child.exit_status)
        if self._failure:
            raise RunError(self._failure)
        if self._child.exit_status != 0:
            raise RunError(describe_exit(self._child.exit_status or 0, oom_kills() - kills))

    def _plan(self) -> Plan:
        spec = self._run.spec
        adapter_id = spec.configuration.adapter_id
        return Plan(
            spec=spec,
            artifact=self._evidence.artifact,
            reference=self._store.artifact(spec.reference_id) if spec.reference_id else None,
            adapter=self._store.artifact(adapter_id) if adapter_id else None,
            suites_s=tuple(suite_seconds(self._evidence.artifact, suite) for suite in spec.suites),
            traces=self._traces(),
            rivals=rivals_of(self._store, self._run),
            known=known_answers(self._store, self._run, self._evidence.artifact),
        )

    def _traces(self) -> dict[str, tuple[TraceLine, ...]]:
        folder = get_settings().traces_dir
        wanted = {workload.trace for workload in self._run.spec.workloads if workload.trace is not None}
        found = {digest: traces.load(folder, digest) for digest in sorted(wanted)}
        self._evidence.timed_traces = frozenset(d for d, lines in found.items() if lines[0].arrival_s is not None)
        return found

    def _check_wanted(self) -> None:
        if self._cancelled or self._abandoned():
            raise RunCancelledError("The run was cancelled.", "Retry it from the queue.")

    def _handle(self, event: Event) -> None:
        match event:
            case PhaseEvent():
                self._mark(event)
            case RequestEvent(record=request):
                self._evidence.requests.append(request)
                self._pending.requests.append(request)
            case AnswerEvent(record=answer):
                self._evidence.answers.append(answer)
                self._pending.answers.append(answer)
            case MeasurementEvent(measurement=measurement):
                self._evidence.measurements.append(measurement)
            case ProgressEvent(fraction=fraction, note=note):
                self._progress = (fraction, note, self._progress[2])
            case EngineEvent(info=info):
                emulated = self._watch.describe() if self._watch else {}
                self._recorder.set_engine_info({**info, **emulated})
            case TargetEvent():
                self._aim(event)
            case FailureEvent(reason=reason):
                self._failure = reason

    def _aim(self, event: TargetEvent) -> None:
        """Meter the server that answers, or nobody: never the process that only asks."""
        assert self._child is not None
        energy = self._run.spec.energy
        self._sampler.retarget(Target(pid=event.pid, energy=energy, client_pid=self._child.pid))
        self._evidence.unmetered = event.reason if event.pid is None else ""

    def _mark(self, event: PhaseEvent) -> None:
        """Enter or leave a phase, with a sample at the edge so that no window begins or ends between two."""
        self._sampler.read_now()
        key = (event.phase, event.subject)
        if event.edge == "start":
            if self._watch and event.phase is Phase.PERFORMANCE:
                self._watch.lift()
            window = PhaseWindow(phase=event.phase, subject=event.subject, start_ns=event.time_ns)
            self._sampler.set_phase(event.phase)
            self._progress = (*self._progress[:2], event.phase)
        else:
            window = self._open_phases[key].model_copy(update={"end_ns": event.time_ns})
        self._open_phases[key] = self._evidence.windows[key] = self._pending.phases[key] = window

    def _write(self) -> None:
        """Put what came in since the last time into the store, in one transaction."""
        samples = self._sampler.drain()
        self._evidence.samples.extend(samples)
        self._gpus.take(samples)
        if answers := self._pending.answers:
            self._evidence.domains = self._domains()
            answers = with_task_energy(self._evidence, answers)
        fraction, note, phase = self._progress
        elapsed = time.monotonic() - self._measured_since
        remaining = elapsed * (1 - fraction) / fraction if fraction > 0.02 else None
        batch, self._pending = self._pending.batch(samples, answers), Pending()  # the recorder's from now on
        self._recorder.write(batch, (fraction, note, phase, remaining))

    def _domains(self) -> tuple[EnergyDomain, ...]:
        """The counters of what was metered; those of this machine say nothing of a server elsewhere."""
        if self._power is not None:
            return tuple(self._power.domains())
        return () if self._evidence.unmetered else self._sampler.domains(self._gpus.cards)

    def _finish(self, state: RunState, reason: str) -> None:
        now = time.perf_counter_ns()
        for key, window in self._open_phases.items():
            if window.end_ns is None:
                self._evidence.windows[key] = self._pending.phases[key] = window.model_copy(update={"end_ns": now})
        self._write()
        self._evidence.gpus = self._gpus.used
        self._evidence.domains = self._domains()
        found = [*summarise(self._evidence), *self._verdict]
        disturbances = [*disturbances_of(self._evidence), *self._gpus.disturbances()] if state is RunState.DONE else []
        notes = [f"unreadable event: {line}" for line in self._child.garbled] if self._child else []
        notes += [f"meter {name}: {problem}" for name, problem in self._sampler.problems.items()]
        if self._recorder.away_s:
            notes.append(f"the database was away for {self._recorder.away_s:.0f} s; nothing is missing")
        self._recorder.finish(
            state,
            with_emulation(found, self._run.spec.configuration.profile),
            reason=reason,
            log_tail=tail_of(self._log_path, notes),
            disturbances=disturbances,
        )
