"""From what lm-evaluation-harness kept of each document to answers and figures."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from trilemma.records import AnswerRecord
from trilemma.schema import Measurement, Method, Provenance
from trilemma.suites.shares import mean_measurement, source_of

_ACCURACIES = ("accuracy", "accuracy_norm", "accuracy_strict")
_ORDER = {name: place for place, name in enumerate(_ACCURACIES)}
_FIGURES = {"acc": "accuracy", "acc_norm": "accuracy_norm"}
_STRICT = "strict-match"
_DEPTH, _ITEMS, _CHARACTERS = 4, 200, 10_000
"""How much of a filtered response is kept: a task's program may return anything."""


class Scores:
    """What one task scored: which of its metrics are means over documents, and what each is called.

    A metric that is no mean of one number a document (perplexity, F1, BLEU) has one value for all of them together.

    Args:
        title: The task's name.
        results: What the harness's ``evaluate`` returned.
    """

    def __init__(self, title: str, results: Mapping[str, Any]) -> None:
        self.documents: defaultdict[int, list[Mapping[str, Any]]] = defaultdict(list)
        by_filter: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for sample in results["samples"][title]:
            self.documents[int(sample["doc_id"])].append(sample)
            by_filter[sample["filter"]].append(sample)
        pairs = [
            (metric, which)
            for which, samples in by_filter.items()
            for metric in dict.fromkeys(metric for sample in samples for metric in sample["metrics"])
        ]
        names = figure_names(pairs)
        better = results.get("higher_is_better", {}).get(title, {})
        self.means: dict[tuple[str, str], str] = {}
        self.totals: dict[str, float] = {}
        self.less_is_better: list[str] = []
        for metric, which in pairs:
            total = number(results["results"][title].get(f"{metric},{which}"))
            if total is None:
                continue
            name = names[metric, which]
            if _is_mean(total, [number(sample.get(metric)) for sample in by_filter[which]]):
                self.means[metric, which] = name
            else:
                name = plain_name(metric, which, list(by_filter))
                self.totals[name] = total
            if better.get(metric) is False:
                self.less_is_better.append(name)

    def of(self, document: int) -> dict[str, float]:
        """The scores of a document, the headline first."""
        found = {
            self.means[metric, sample["filter"]]: value
            for sample in self.documents[document]
            for metric in sample["metrics"]
            if (metric, sample["filter"]) in self.means and (value := number(sample.get(metric))) is not None
        }
        return dict(sorted(found.items(), key=lambda item: _ORDER.get(item[0], len(_ORDER))))


def figure_names(pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """What each (metric, filter) is called: a figure of ours where it means the same, else its own name.

    ``exact_match`` is accuracy; of several filters the first that is not called strict is taken, the strict one being
    ``accuracy_strict``.
    """
    filters = list(dict.fromkeys(which for _, which in pairs))
    names = {pair: plain_name(*pair, filters) for pair in pairs}
    for metric, figure in _FIGURES.items():
        if first := next((pair for pair in pairs if pair[0] == metric), None):
            names[first] = figure
    exact = [pair for pair in pairs if pair[0] == "exact_match"]
    if exact and "accuracy" not in names.values():
        loose = next((pair for pair in exact if pair[1] != _STRICT), exact[0])
        names[loose] = "accuracy"
        if loose[1] != _STRICT and ("exact_match", _STRICT) in exact:
            names["exact_match", _STRICT] = "accuracy_strict"
    return names


def plain_name(metric: str, which: str, filters: Sequence[str]) -> str:
    """The harness's name of a metric, with its filter where there are several; fit for a measurement's key."""
    name = f"{metric} {which}" if len(filters) > 1 else metric
    return " ".join(name.replace("@", " at ").replace(",", " ").split())[:100]


def number(value: Any) -> float | None:
    """``value`` if it is one finite number, NumPy's included."""
    try:
        found = float(value) if not isinstance(value, str | bytes | Sequence) else math.nan
    except (TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def _is_mean(total: float, values: Sequence[float | None]) -> bool:
    """Whether the harness's figure for all documents is the mean of theirs."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return False
    return math.isclose(total, math.fsum(known) / len(known), rel_tol=1e-9, abs_tol=1e-12)


def record(suite: str, index: int, task: Any, title: str, document: int, scores: Scores) -> AnswerRecord:
    """The answer to a document; what is common to the whole task is added by the suite."""
    samples = scores.documents[document]
    first = samples[0]
    prompts = list(dict.fromkeys(str(arguments[0]) for arguments in first["arguments"] if arguments[0]))
    detail: dict[str, JsonValue] = {
        "task": title,
        "filtered_responses": {sample["filter"]: json_value(sample["filtered_resps"]) for sample in samples},
    }
    if scores.totals:
        detail["totals"] = dict(scores.totals)
    if scores.less_is_better:
        detail["less_is_better"] = list(scores.less_is_better)
    answer, expected = _said(task, first)
    return AnswerRecord(
        suite=suite,
        item_id=f"{title}/{document}",
        index=index,
        prompt="\n".join(prompts),
        answer=answer,
        expected=expected,
        scores=scores.of(document),
        detail=detail,
    )


def _said(task: Any, sample: Mapping[str, Any]) -> tuple[str, str]:
    """The answer and the right one, as people read them."""
    kind = getattr(task, "OUTPUT_TYPE", None)
    target = sample["target"]
    said = [answers[0] for answers in sample["resps"]]
    if kind == "multiple_choice":
        choices = [str(choice) for choice in task.doc_to_choice(sample["doc"])]
        logprobs = [answer[0] for answer in said[: len(choices)]]
        # Where each choice has a context of its own (WinoGrande) the place of the right one is in the question's stead.
        right = task.doc_to_text(sample["doc"]) if getattr(task, "multiple_input", False) else target
        rights = [_choice(one, choices) for one in (right if isinstance(right, list) else [right])]
        return choices[max(range(len(logprobs)), key=logprobs.__getitem__)], "; ".join(rights)
    expected = "; ".join(map(str, target)) if isinstance(target, list) else str(target)
    if kind == "generate_until":
        return str(said[0]), expected
    if kind == "loglikelihood":
        return (expected if said[0][1] else ""), expected
    return "", ""


def _choice(right: Any, choices: Sequence[str]) -> str:
    return choices[right] if isinstance(right, int) and 0 <= right < len(choices) else str(right)


def json_value(value: Any, depth: int = _DEPTH) -> JsonValue:
    """``value`` as JSON, bounded; what JSON does not have becomes text."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return value[:_CHARACTERS]
    if (known := number(value)) is not None:
        return known
    if isinstance(value, Mapping) and depth:
        return {str(key)[:100]: json_value(item, depth - 1) for key, item in list(value.items())[:_ITEMS]}
    if isinstance(value, list | tuple) and depth:
        return [json_value(item, depth - 1) for item in value[:_ITEMS]]
    return str(value)[:_CHARACTERS]


def measurements(answers: Sequence[AnswerRecord], subject: str, reasons: Sequence[str]) -> list[Measurement]:
    """Every metric: those that are means with their intervals, the others as the harness computed them."""
    if not answers:
        return [mean_measurement("accuracy", subject, [])]
    source = source_of(answers)
    found = []
    for name in dict.fromkeys(name for answer in answers for name in answer.scores):
        values = [answer.scores[name] for answer in answers if name in answer.scores]
        figure, statistic = _figure(name, answers)
        made = mean_measurement(figure, subject, values, source=source, reasons=reasons)
        found.append(made.model_copy(update={"statistic": statistic}))
    tasks = list(dict.fromkeys(str(answer.detail["task"]) for answer in answers))
    for task in tasks:
        mine = [answer for answer in answers if answer.detail["task"] == task]
        totals = mine[0].detail.get("totals")
        for name, value in totals.items() if isinstance(totals, dict) else ():
            figure, statistic = _figure(name, mine)
            found.append(
                Measurement(
                    figure=figure,
                    subject=subject,
                    statistic=statistic if len(tasks) == 1 else f"{task} {statistic}",
                    value=float(str(value)),
                    n=len(mine),
                    provenance=Provenance(
                        method=Method.MEASURED,
                        source=f"{subject}: {source}"[:255],
                        reasons=("all documents together: no interval", *reasons),
                    ),
                )
            )
    return found


def _figure(name: str, answers: Iterable[AnswerRecord]) -> tuple[str, str]:
    """Figure and statistic of a score: any metric that is no accuracy is a statistic of ``score``."""
    if name in _ACCURACIES:
        return name, ""
    lower = any(name in marked for a in answers if isinstance(marked := a.detail.get("less_is_better"), list))
    return ("score_less_is_better" if lower else "score"), name
