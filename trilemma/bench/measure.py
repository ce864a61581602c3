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
from typing import TextIO

from trilemma import registry
from trilemma.bench.events import (
    AnswerEvent,
    EngineEvent,
    Event,
    FailureEvent,
    MeasurementEvent,
    PhaseEvent,
    ProgressEvent,
    RequestEvent,
)
from trilemma.bench.plan import Plan
from trilemma.effort import suite_seconds, workload_seconds
from trilemma.engines.base import Engine, Generation, GenerationRequest, LoadedModel, Prompt, ServingModel
from trilemma.errors import EngineError, TrilemmaError
from trilemma.records import AnswerRecord, RequestRecord
from trilemma.schema import Measurement, Method, Phase, Provenance, SuiteSpec, WorkloadSpec
from trilemma.suites.base import Suite, SuiteContext
from trilemma.workloads import PROMPT_SETS
from trilemma.workloads.load import closed_loop

_PR_SET_PDEATHSIG = 1


class Channel:
    """Writes events for the supervisor, one JSON object a line."""

    def __init__(self, stream: TextIO, total_s: float) -> None:
        self._stream = stream
        self._total_s = max(total_s, 1e-9)
        self._done_s = 0.0

    def send(self, event: Event) -> None:
        """Write one event."""
        self._stream.write(event.model_dump_json() + "\n")
        self._stream.flush()

    @contextlib.contextmanager
    def phase(self, phase: Phase, subject: str = "") -> Iterator[None]:
        """Bracket a phase, also when it fails."""
        self.send(PhaseEvent(phase=phase, subject=subject, edge="start", time_ns=time.perf_counter_ns()))
        try:
            yield
        finally:
            self.send(PhaseEvent(phase=phase, subject=subject, edge="end", time_ns=time.perf_counter_ns()))

    def advance(self, expected_s: float, fraction: float, note: str) -> None:
        """Report that ``fraction`` of a step that should take ``expected_s`` is done."""
        self.send(ProgressEvent(fraction=min((self._done_s + expected_s * fraction) / self._total_s, 1.0), note=note))

    def finish_step(self, expected_s: float) -> None:
        """Add a finished step to what is done."""
        self._done_s += expected_s


def request_of(prompt: Prompt, spec: WorkloadSpec) -> GenerationRequest:
    """What a user of the workload asks."""
    return GenerationRequest(
        prompt=prompt.tokens, text=prompt.text, max_tokens=spec.output_tokens, ignore_eos=True, seed=spec.seed
    )


def record_of(
    model: LoadedModel, prompt: Prompt, spec: WorkloadSpec, index: int, generation: Generation, *, warmup: bool
) -> RequestRecord:
    """One request, as the store keeps it."""
    in_text = not prompt.tokens
    return RequestRecord(
        workload=spec.subject,
        index=index,
        warmup=warmup,
        submitted_ns=generation.submitted_ns,
        token_times_ns=tuple(generation.token_times_ns),
        # A server's own count, where there is one, is better than our guess.
        prompt_tokens=(generation.prefilled_tokens or prompt.length) if in_text else len(prompt.tokens),
        prefilled_tokens=generation.prefilled_tokens,
        output_tokens=len(generation.token_times_ns),
        engine_prefill_s=generation.engine_prefill_s,
        engine_decode_s=generation.engine_decode_s,
        prompt=prompt.text if in_text else model.detokenize(prompt.tokens),
        text=generation.text if in_text else model.detokenize(generation.tokens),
        error=generation.error,
        token_timing=generation.token_timing,
    )


def answered(model: LoadedModel, prompts: Sequence[Prompt], spec: WorkloadSpec) -> Iterator[tuple[int, Generation]]:
    """The answers with their positions: one after the other, or as ``spec.concurrency`` users get them.

    Raises:
        EngineError: the engine answers one request at a time only, and more are asked.
    """
    requests = [request_of(prompt, spec) for prompt in prompts]
    if spec.concurrency == 1:
        for index, request in enumerate(requests):
            yield index, model.generate(request)
        return
    if not isinstance(model, ServingModel):
        raise EngineError(
            "This engine answers one request at a time.", "Set the workload's concurrency to 1, or use another engine."
        )
    yield from closed_loop(model.server(), requests, spec.concurrency)


def run_workload(model: LoadedModel, spec: WorkloadSpec, channel: Channel, expected_s: float) -> None:
    """Warm up, then have the measured requests answered."""
    case = PROMPT_SETS.get(spec.name)
    if case is None:
        raise TrilemmaError(f"There is no workload named {spec.name!r}.", f"Known: {', '.join(PROMPT_SETS)}.")
    warmups = spec.warmup_requests and max(spec.warmup_requests, spec.concurrency)
    prompts = case.prompts(spec, model, warmups + spec.requests)
    for phase, asked in ((Phase.WARMUP, prompts[:warmups]), (Phase.SPEED, prompts[warmups:])):
        warmup = phase is Phase.WARMUP
        with channel.phase(phase, spec.subject):
            for done, (index, generation) in enumerate(answered(model, asked, spec), 1):
                record = record_of(model, asked[index], spec, index, generation, warmup=warmup)
                channel.send(RequestEvent(record=record))
                what = "warming up" if warmup else f"{done} of {len(asked)} requests"
                channel.advance(expected_s, 0.0 if warmup else done / len(asked), f"{case.title}: {what}")


def run_suite(
    suite: Suite, model: LoadedModel, engine: Engine, plan: Plan, spec: SuiteSpec, channel: Channel, expected_s: float
) -> None:
    """Ask every item; figures follow when all are answered."""

    def open_reference() -> AbstractContextManager[LoadedModel]:
        assert plan.reference is not None
        return engine.load(plan.reference, plan.spec.configuration.settings)

    context = SuiteContext(
        spec=spec,
        open_reference=open_reference if plan.reference else None,
        reference_label=plan.reference.label if plan.reference else "",
        advance=lambda fraction: channel.advance(expected_s, fraction, suite.title),
    )
    answers: list[AnswerRecord] = []
    with channel.phase(Phase.PERFORMANCE, spec.name):
        for answer in suite.answers(model, context):
            answers.append(answer)
            channel.send(AnswerEvent(record=answer))
    for measurement in suite.measurements(answers, spec):
        channel.send(MeasurementEvent(measurement=measurement))


def memory_measurements(model: LoadedModel) -> list[Measurement]:
    """What the engine accounts for: weights, KV cache, and what it reserved for that ahead."""
    split = model.memory()
    scope = "GPU" if split.pool == "gpu" else "process"
    provenance = Provenance(method=Method.MEASURED, source="engine's own accounting", scope=scope)
    figures = {"weights_memory_bytes": split.weights_bytes, "kv_cache_bytes": split.kv_cache_bytes}
    if split.reserved_bytes is not None:
        figures["kv_cache_reserved_bytes"] = split.reserved_bytes
    return [
        Measurement(figure=figure, value=None if value is None else float(value), n=1, provenance=provenance)
        for figure, value in figures.items()
    ]


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
            model = stack.enter_context(engine.load(plan.artifact, spec.configuration.settings))
        channel.send(EngineEvent(info=model.describe()))
        try:
            with channel.phase(Phase.LOADED_IDLE):
                time.sleep(plan.loaded_idle_s)
            for workload in spec.workloads:
                expected_s = workload_seconds(plan.artifact, workload)
                run_workload(model, workload, channel, expected_s)
                channel.finish_step(expected_s)
        finally:
            # Only now is it known how much of a pool serving has used; a run that fails keeps what is known.
            for measurement in memory_measurements(model):
                channel.send(MeasurementEvent(measurement=measurement))
        for suite_spec in spec.suites:
            expected_s = suite_seconds(plan.artifact, suite_spec)
            suite: Suite = registry.load("trilemma.suites", suite_spec.name)()
            run_suite(suite, model, engine, plan, suite_spec, channel, expected_s)
            channel.finish_step(expected_s)
        channel.send(PhaseEvent(phase=Phase.UNLOAD, edge="start", time_ns=time.perf_counter_ns()))
    channel.send(PhaseEvent(phase=Phase.UNLOAD, edge="end", time_ns=time.perf_counter_ns()))
    channel.send(ProgressEvent(fraction=1.0, note="Done"))


def die_with_parent() -> None:
    """Ask the kernel to end this process when its supervisor ends; elsewhere the broken pipe does, a little later."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> int:
    """Read the plan, send events on what was standard output; anything printed goes to the log."""
    die_with_parent()
    stream = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    plan = Plan.model_validate_json(sys.stdin.read())
    total_s = sum(workload_seconds(plan.artifact, workload) for workload in plan.spec.workloads)
    total_s += sum(suite_seconds(plan.artifact, suite) for suite in plan.spec.suites)
    channel = Channel(stream, total_s)
    try:
        measure(plan, channel)
    except TrilemmaError as error:
        channel.send(FailureEvent(reason=str(error)))
        return 1
    except MemoryError:
        channel.send(FailureEvent(reason="Memory ran out. Try fewer bits per weight or a shorter context."))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
