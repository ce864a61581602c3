"""The measured process: loads one configuration, serves the workloads, asks the suites, and says what happened.

It never touches the store or the meters, so that what is measured is the engine and the loop around it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

from trilemma import registry
from trilemma.bench.channel import Channel
from trilemma.bench.child_figures import (
    cost_measurements,
    lag_measurement,
    memory_measurements,
    not_offered,
    record_of,
    target_event,
)
from trilemma.bench.events import (
    AnswerEvent,
    EngineEvent,
    FailureEvent,
    MeasurementEvent,
    PhaseEvent,
    ProgressEvent,
    RequestEvent,
)
from trilemma.bench.joint import run_generation_suite
from trilemma.bench.plan import Plan
from trilemma.bench.stopping import Stopping, stopped_measurements
from trilemma.catalog.names import clean
from trilemma.effort import workload_seconds
from trilemma.engines.base import AdaptingEngine, Engine, LoadedModel, ServingModel
from trilemma.engines.remote import RemoteModel
from trilemma.errors import EngineError, NotOfferedError, TrilemmaError, is_disk_full
from trilemma.records import AnswerRecord, RequestRecord
from trilemma.schema import Artifact, Configuration, Phase, SuiteSpec, WorkloadSpec
from trilemma.suites.base import Suite, SuiteContext
from trilemma.suites.generation import GenerationSuite
from trilemma.workloads import PROMPT_SETS
from trilemma.workloads.load import Answered, drive
from trilemma.workloads.requests import Ask, Trace, asks, is_open_loop, measured_requests, schedule
from trilemma.workloads.saturation import saturated, saturation_measurement, served_per_s

_PR_SET_PDEATHSIG = 1


def answered(model: LoadedModel, wanted: Sequence[Ask], spec: WorkloadSpec, trace: Trace) -> Iterator[Answered]:
    """The answers as they come: one after the other, or as ``spec`` and ``trace`` say that they are asked.

    Raises:
        EngineError: the engine answers one request at a time only, and more are asked.
    """
    requests = [ask.request(spec) for ask in wanted]
    if spec.concurrency == 1 and not spec.think_time_s and not is_open_loop(spec, trace):
        for index, request in enumerate(requests):
            yield Answered(index, model.generate(request), 0.0)
        return
    if not isinstance(model, ServingModel):
        raise EngineError(
            "This engine answers one request at a time.", "Set the workload's concurrency to 1, or use another engine."
        )
    yield from drive(model.server(), requests, schedule(spec, len(requests), trace))


def run_level(
    model: LoadedModel, spec: WorkloadSpec, trace: Trace, channel: Channel, expected_s: float
) -> list[RequestRecord]:
    """Warm up, then have the measured requests answered; returns the latter.

    Of a trace the measured requests are the first ones, each at its own time; those after them warm up.
    """
    title = PROMPT_SETS[spec.name].title if spec.name in PROMPT_SETS else spec.name
    warmups = spec.warmup_requests and max(spec.warmup_requests, spec.concurrency)
    count = measured_requests(spec, trace)
    wanted = asks(spec, model, warmups + count, trace)
    warming, measured = (wanted[count:], wanted[:count]) if trace else (wanted[:warmups], wanted[warmups:])
    # Nobody thinks while the engine warms up, and arrivals need not be recorded ones.
    warm_spec = spec.model_copy(update={"think_time_s": 0.0, "rate": None})
    records: list[RequestRecord] = []
    lags: list[float] = []
    for phase, asked in ((Phase.WARMUP, warming), (Phase.SPEED, measured)):
        warmup = phase is Phase.WARMUP
        with channel.phase(phase, spec.subject):
            coming = answered(model, asked, warm_spec if warmup else spec, () if warmup else trace)
            for done, (index, generation, lag_s) in enumerate(coming, 1):
                record = record_of(model, asked[index].prompt, spec.subject, index, generation, warmup=warmup)
                channel.send(RequestEvent(record=record))
                if not warmup:
                    records.append(record)
                    lags.append(lag_s)
                what = "warming up" if warmup else f"{done} of {len(asked)} requests"
                channel.advance(expected_s, 0.0 if warmup else done / len(asked), f"{title}: {what}")
    if is_open_loop(spec, trace) or spec.think_time_s:
        channel.send(MeasurementEvent(measurement=lag_measurement(spec.subject, lags)))
    for measurement in cost_measurements(model, spec.subject, records):
        channel.send(MeasurementEvent(measurement=measurement))
    if records and all(record.error for record in records):
        raise EngineError(f"Every request failed, the first with: {records[0].error}", "Mend that, then retry the run.")
    return records


def run_workload(model: LoadedModel, spec: WorkloadSpec, trace: Trace, channel: Channel, artifact: Artifact) -> None:
    """Serve the workload; of a sweep one level after the other, until more load brings no more throughput."""
    left = [(level, workload_seconds(artifact, level)) for level in spec.levels()]
    throughput: list[float] = []
    last = None
    while left and last is None:
        level, expected_s = left.pop(0)
        throughput.append(served_per_s(run_level(model, level, trace, channel, expected_s), level, trace))
        channel.finish_step(expected_s)
        last = level if spec.sweep and saturated(throughput, level) else None
    channel.finish_step(sum(expected_s for _, expected_s in left))
    if spec.sweep:
        channel.send(MeasurementEvent(measurement=saturation_measurement(spec, last)))


def run_suite(
    suite: Suite | GenerationSuite,
    model: LoadedModel,
    engine: Engine,
    plan: Plan,
    spec: SuiteSpec,
    channel: Channel,
    expected_s: float,
) -> None:
    """Ask every item; figures follow when all are answered. What the engine does not offer is a blank, and says so."""
    try:
        if isinstance(suite, GenerationSuite):
            run_generation_suite(suite, model, spec, channel, expected_s, plan.rivals.get(spec.name, ()))
        else:
            score_suite(suite, model, engine, plan, spec, channel, expected_s)
    except NotOfferedError as error:
        for figure in suite.figures:
            channel.send(MeasurementEvent(measurement=not_offered(figure, spec.name, str(error))))


def score_suite(
    suite: Suite, model: LoadedModel, engine: Engine, plan: Plan, spec: SuiteSpec, channel: Channel, expected_s: float
) -> None:
    """Ask every item of a suite that scores what the model would say, and need not say."""

    def open_reference() -> AbstractContextManager[LoadedModel]:
        assert plan.reference is not None
        return engine.load(plan.reference, plan.spec.configuration.settings)

    context = SuiteContext(
        spec=spec,
        open_reference=open_reference if plan.reference else None,
        reference_label=plan.reference.label if plan.reference else "",
        advance=lambda fraction: channel.advance(expected_s, fraction, suite.title),
        known={answer.item_id: answer for answer in plan.known.get(spec.name, ())},
    )
    answers: list[AnswerRecord] = []
    with channel.phase(Phase.PERFORMANCE, spec.name):
        rule, total, why = spec.stopping, len(suite.items(spec)) if spec.stopping else 0, ""
        stopping = Stopping(rule, total, plan.rivals.get(spec.name, ())) if rule else None
        for answer in suite.answers(model, context):
            answers.append(answer)
            channel.send(AnswerEvent(record=answer))
            if stopping and (why := stopping.add(answer)):
                break
    found = suite.measurements(answers, spec)
    if rule and why:
        found = stopped_measurements(found, answers, total, why, rule.error)
    for measurement in found:
        channel.send(MeasurementEvent(measurement=measurement))


def _in_order(plan: Plan) -> list[tuple[SuiteSpec, Suite | GenerationSuite, float]]:
    """Every suite with the seconds that it should take.

    Those whose answers are metered come first: what scoring alone takes is not in their process's memory yet.
    """
    expected = plan.suites_s or (1.0,) * len(plan.spec.suites)
    suites = [
        (spec, registry.load("trilemma.suites", spec.name)(), expected_s)
        for spec, expected_s in zip(plan.spec.suites, expected, strict=True)
    ]
    return sorted(suites, key=lambda one: not isinstance(one[1], GenerationSuite))


def loaded(engine: Engine, configuration: Configuration, artifact: Artifact, adapter: Artifact | None) -> LoadedModel:
    """The artifact of a configuration, with its adapter if it has one.

    Raises:
        EngineError: the engine refuses it, or applies no adapters.
    """
    if adapter is None:
        return engine.load(artifact, configuration.settings)
    if not isinstance(engine, AdaptingEngine):
        raise EngineError("This engine applies no adapters.", "Measure without one, or use llama.cpp or vLLM.")
    return engine.load_adapted(artifact, configuration.settings, adapter)


def measure(plan: Plan, channel: Channel) -> None:
    """Run all phases of ``plan``.

    Raises:
        TrilemmaError: the run cannot go on.
    """
    spec = plan.spec
    engine: Engine = registry.load("trilemma.engines", spec.configuration.engine)()
    with contextlib.ExitStack() as stack:
        with channel.phase(Phase.LOAD):
            channel.advance(1.0, 0.0, f"Loading {plan.artifact.label}")
            model = stack.enter_context(loaded(engine, spec.configuration, plan.artifact, plan.adapter))
        channel.send(EngineEvent(info=model.describe()))
        if isinstance(model, RemoteModel):
            channel.send(target_event(model))
        try:
            with channel.phase(Phase.LOADED_IDLE):
                time.sleep(plan.loaded_idle_s)
            for workload in spec.workloads:
                run_workload(model, workload, plan.traces.get(workload.trace or "", ()), channel, plan.artifact)
        finally:
            # Only now is it known how much of a pool serving has used; a run that fails keeps what is known.
            for measurement in memory_measurements(model):
                channel.send(MeasurementEvent(measurement=measurement))
            # What was out of the ordinary while serving is known only now.
            channel.send(EngineEvent(info=model.describe()))
        for suite_spec, suite, expected_s in _in_order(plan):
            run_suite(suite, model, engine, plan, suite_spec, channel, expected_s)
            channel.finish_step(expected_s)
        channel.send(PhaseEvent(phase=Phase.UNLOAD, edge="start", time_ns=time.perf_counter_ns()))
    channel.send(PhaseEvent(phase=Phase.UNLOAD, edge="end", time_ns=time.perf_counter_ns()))
    channel.send(ProgressEvent(fraction=1.0, note="Done"))


def die_with_parent() -> None:
    """Ask the kernel to end this process when its parent ends; elsewhere the broken pipe does, a little later."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> int:
    """Read the plan, send events on what was standard output; anything printed goes to the log."""
    die_with_parent()
    stream = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    plan = Plan.model_validate_json(sys.stdin.read())
    total_s = sum(workload_seconds(plan.artifact, workload) for workload in plan.spec.workloads)
    total_s += sum(plan.suites_s)
    channel = Channel(stream, total_s)
    try:
        measure(plan, channel)
    except TrilemmaError as error:
        channel.send(FailureEvent(reason=str(error)))
        return 1
    except MemoryError:
        channel.send(FailureEvent(reason="Memory ran out. Try fewer bits per weight or a shorter context."))
        return 1
    except Exception as error:  # whatever it is: a failed run has a cause
        told = clean(f"{type(error).__name__}: {error}", 300)
        full = "The disk is full: free some space, then retry." if is_disk_full(error) else "See the end of the log."
        channel.send(FailureEvent(reason=f"An unexpected error ended the run ({told}). {full}"))
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
