"""What a right answer costs: figures out of answers that were scored, timed and metered at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from trilemma.bench.efficiency import EnergyReading
from trilemma.records import AnswerRecord, RequestRecord
from trilemma.schema import Measurement, Method, Provenance, SuiteSpec
from trilemma.workloads.latency import Array, Estimate, bootstrap

SOLVED = "success_rate"
"""The headline score of suites whose tasks are solved by acting."""


class _Cost(NamedTuple):
    """What a suite's figures of costs are called, for answers and for tasks."""

    energy: str
    time: str


_OF_ANSWERS = _Cost("energy_per_correct_answer_j", "time_per_correct_answer_s")
_OF_TASKS = _Cost("energy_per_solved_task_j", "time_per_solved_task_s")


def headline_score(answer: AnswerRecord) -> float:
    """The score that a suite names first."""
    return next(iter(answer.scores.values()), 0.0)


def joint_measurements(
    spec: SuiteSpec, answers: Sequence[AnswerRecord], requests: Sequence[RequestRecord], energy: EnergyReading | None
) -> list[Measurement]:
    """Joules and seconds per right answer or solved task, wrong ones' cost included; and what a task took.

    The window is that of all requests, from the first submission to the last token: what begins and ends it is part of
    the price.

    Args:
        spec: The suite as it was asked.
        answers: Its answers.
        requests: The requests that made them.
        energy: The run's counters; None where nobody metered what answered.
    """
    if not answers or not requests:
        return []
    subject = spec.subject
    scores = np.array([headline_score(answer) for answer in answers])
    seconds = np.array([_number(answer, "seconds") for answer in answers])
    tokens = np.array([_number(answer, "output_tokens") for answer in answers])
    names = _OF_TASKS if SOLVED in answers[0].scores else _OF_ANSWERS
    clock = Provenance(method=Method.MEASURED, source="client's clock", scope="request")
    found = [
        _ratio(names.time, subject, seconds, scores, clock),
        _mean("output_tokens_per_answer", subject, tokens),
    ]
    if SOLVED in answers[0].scores:
        found.append(_mean("steps_per_task", subject, np.array([_number(a, "steps") for a in answers])))
        found += _calls(subject, answers)
    if energy is None:
        return found
    start = min(r.submitted_ns for r in requests)
    end = max((r.token_times_ns[-1] for r in requests if r.token_times_ns), default=start)
    window = energy.over(start, end) if end > start else None
    if window is None:
        return found
    provenance = energy.annotate(window.provenance)
    if window.net_j is None:
        found.append(Measurement(figure=names.energy, subject=subject, value=None, provenance=provenance))
        return found
    # Requests that overlap share their joules: told apart by the tokens of their answers, for the interval alone.
    shares = tokens / tokens.sum() if tokens.sum() else np.full(len(tokens), 1 / len(tokens))
    found.append(_ratio(names.energy, subject, window.net_j * shares, scores, provenance))
    return found


def task_energy(
    answer: AnswerRecord, requests: Mapping[tuple[str, int], RequestRecord], spec: SuiteSpec, energy: EnergyReading
) -> AnswerRecord:
    """``answer`` with the joules of its task, where one was done at a time; else they cannot be told apart."""
    numbers = answer.detail.get("requests")
    if spec.concurrency > 1 or not isinstance(numbers, list):
        return answer
    mine = [requests.get((spec.subject, int(str(number)))) for number in numbers]
    timed = [r for r in mine if r is not None and r.token_times_ns]
    if not timed:
        return answer
    window = energy.over(min(r.submitted_ns for r in timed), max(r.token_times_ns[-1] for r in timed))
    if window is None or window.net_j is None:
        return answer
    told = {"energy_j": window.net_j, "energy_method": window.provenance.method.value}
    return answer.model_copy(update={"detail": {**answer.detail, **told}})


def _number(answer: AnswerRecord, name: str) -> float:
    value = answer.detail.get(name)
    return float(value) if isinstance(value, int | float) else 0.0


def _calls(subject: str, answers: Sequence[AnswerRecord]) -> list[Measurement]:
    """Tool calls of agents: how many a task took, and which share could not be understood."""
    calls = np.array([_number(answer, "tool_calls") for answer in answers])
    malformed = np.array([_number(answer, "malformed_calls") for answer in answers])
    found = [_mean("tool_calls_per_task", subject, calls)]
    if calls.sum() + malformed.sum() > 0:
        share = float(malformed.sum() / (calls.sum() + malformed.sum()))
        provenance = Provenance(method=Method.MEASURED, source="answers")
        n = int(calls.sum() + malformed.sum())
        found.append(
            Measurement(figure="malformed_calls_share", subject=subject, value=share, n=n, provenance=provenance)
        )
    return found


def _mean(figure: str, subject: str, values: Array) -> Measurement:
    estimate = bootstrap((values,), lambda v, axis=-1: np.asarray(v.mean(axis=axis)))
    return _measurement(figure, subject, estimate, Provenance(method=Method.MEASURED, source="answers"))


def _ratio(figure: str, subject: str, costs: Array, scores: Array, provenance: Provenance) -> Measurement:
    """All costs over all scores; the interval by bootstrap over tasks. No value where nothing was right."""
    if not scores.sum():
        reasons = (*provenance.reasons, f"none of {len(scores)} answers was right")
        unknown = provenance.model_copy(update={"valid": False, "reasons": reasons})
        return Measurement(figure=figure, subject=subject, value=None, n=len(scores), provenance=unknown)

    # Right answers a joule or a second, upside down: of resamples without a right one that is 0, and not infinite.
    rate = bootstrap((scores, costs), lambda s, c, axis=-1: np.asarray(s.sum(axis=axis) / c.sum(axis=axis)))
    low, high = (None if not bound else 1 / bound for bound in (rate.high, rate.low))
    estimate = Estimate(1 / rate.value, low, high, rate.n)
    return _measurement(figure, subject, estimate, provenance)


def _measurement(figure: str, subject: str, estimate: Estimate, provenance: Provenance) -> Measurement:
    return Measurement(
        figure=figure,
        subject=subject,
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        n=estimate.n,
        provenance=provenance,
    )
