"""What a report says in sentences: what the picture shows, how it was measured, and how far it may be believed."""

from __future__ import annotations

import math

import numpy as np

from trilemma.analysis.differences import joined
from trilemma.analysis.draws import DRAWS
from trilemma.analysis.format import key_title
from trilemma.analysis.odds import SURE, Standing
from trilemma.analysis.points import Points, axis_of, labels
from trilemma.analysis.scoring import Normalisation, ScoringMethod
from trilemma.analysis.subjects import subject_title
from trilemma.analysis.text import best_sentences, caveats, count_of, emulated_text
from trilemma.figures import FIGURES
from trilemma.report.gather import Material
from trilemma.schema import Axis, Method, RunState, SuiteSpec, WorkloadSpec, split_key
from trilemma.workload import LatencyLimits

_NO_SHARES = ("perplexity", "kl_divergence", "top1_agreement", "malformed_calls_share")
"""Figures of performance that are no mean of one score an item."""

_METHODS = {
    ScoringMethod.CHEBYSHEV: "the largest weighted loss, and a little of their sum (augmented Chebyshev)",
    ScoringMethod.WEIGHTED_SUM: "their sum",
    ScoringMethod.TOPSIS: "the distance to the ideal over that to the ideal and to its opposite (TOPSIS)",
}
_SCALES = {
    Normalisation.RANGE: "0 for the best and 1 for the worst that keeps the limits",
    Normalisation.LOG_RANGE: "0 for the best and 1 for the worst that keeps the limits, on a logarithmic scale",
    Normalisation.RANK: "by its rank among those that keep the limits",
}

STANDING_WORDS = {
    Standing.CERTAIN: "on the front",
    Standing.CONTESTED: "contested",
    Standing.DOMINATED: "beaten",
    Standing.UNKNOWN: "lacks a figure",
}


def probability(share: float) -> str:
    """``62 %``; never 0 or 100 %, which a count of draws cannot tell."""
    if math.isnan(share):
        return ""
    if share > 0.99:
        return "> 99 %"
    return "< 1 %" if share < 0.01 else f"{100 * share:.0f} %"


def front_sentence(material: Material) -> str:
    """How many of the configurations that are drawn are on the front, for certain and perhaps."""
    standing = material.odds.standing
    counted = {one: standing.count(one) for one in Standing}
    total = len(standing) - counted[Standing.UNKNOWN]
    if not total:
        return "No configuration that passes has all of the chosen figures."
    parts = [f"{counted[Standing.CERTAIN]:,} on the front for certain"]
    if counted[Standing.CONTESTED]:
        parts.append(f"{counted[Standing.CONTESTED]:,} perhaps")
    if counted[Standing.DOMINATED]:
        parts.append(f"{counted[Standing.DOMINATED]:,} beaten by another in both figures")
    text = f"Of {count_of(total, 'configuration')}, {joined(parts)}."
    missing = counted[Standing.UNKNOWN]
    if missing:
        text += f" {missing:,} more {'lacks' if missing == 1 else 'lack'} one of the figures."
    return text


def worth_sentence(material: Material) -> str:
    """The same in the few words that a meeting reads."""
    standing = material.odds.standing
    total = len(standing) - standing.count(Standing.UNKNOWN)
    if not total:
        return "No option passes."
    sure, perhaps = standing.count(Standing.CERTAIN), standing.count(Standing.CONTESTED)
    who = f"{sure:,} of {count_of(total, 'option')}" if sure else f"None of {count_of(total, 'option')}"
    text = f"{who} {'is' if sure < 2 else 'are'} worth having for certain"
    return f"{text}; {perhaps:,} {'more ' if sure else ''}perhaps." if perhaps else f"{text}."


def front_names(material: Material, standing: Standing, limit: int = 8) -> list[str]:
    """The configurations of one standing, the surest first."""
    names = labels(material.shown).tolist()
    order = np.argsort(-np.nan_to_num(material.odds.probability), kind="stable")
    of_standing = material.odds.standing
    found = [str(names[row]) for row in order if of_standing[row] is standing]
    rest = len(found) - limit
    return found if rest <= 0 else [*found[:limit], f"and {rest:,} more"]


def picture_sentences(material: Material) -> list[str]:
    """What the chart of the two figures says."""
    shown, axes = material.shown, material.axes
    found = [front_sentence(material)]
    for standing, words in ((Standing.CERTAIN, "For certain"), (Standing.CONTESTED, "Perhaps")):
        names = front_names(material, standing)
        if names:
            found.append(f"{words}: {'; '.join(names)}.")
    found += best_sentences(shown, axes)
    hidden = len(material.points) - len(shown)
    if hidden:
        found.append(
            f"{count_of(hidden, 'configuration')} {'does' if hidden == 1 else 'do'} not pass the view's choices and "
            "limits: not drawn, but in the table below."
        )
    return found


def how_measured(material: Material) -> list[str]:
    """What was run, in which order, and how intervals and probabilities came about."""
    spec = material.study.spec
    found = [
        f"{count_of(len(spec.configurations), 'configuration')}, each measured {_times(spec.repeats)}, one run at a "
        "time on the device, every run in processes of its own; repeats are interleaved and their order is shuffled "
        f"(seed {spec.seed}). The idle machine was read for {spec.idle_s:g} s before each run, and the meters "
        f"{spec.sample_hz:g} times a second during it."
    ]
    if spec.workloads:
        found.append(f"Workloads: {'; '.join(map(_workload, spec.workloads))}.")
    if spec.suites:
        found.append(
            f"Suites of questions: {'; '.join(map(_suite, spec.suites))}. They are asked in a configuration's first "
            "repeat only: answers at temperature 0 do not vary from run to run."
        )
    found.append(
        "Figures of speed and efficiency are means over undisturbed repeats. Intervals are 95 %: over repeats by "
        "Student's t with a variance that the configurations lend one another, never narrower than over the requests "
        "of a run; of scores, over the items of the suite."
    )
    found.append(
        "A configuration is on the front when no other is at least as good in every figure and better in one. How "
        f"surely is counted in {DRAWS:,} draws of what could as well have been measured (scores by resampling the "
        "items that all were asked; other figures from their error; all of them drawn towards what a configuration's "
        "model and bits lead to expect, to allow for luck): certain from "
        f"{100 * SURE:.0f} % of them on, beaten up to {100 - 100 * SURE:.0f} %, contested between."
    )
    if material.decision is not None:
        found.append(
            "The recommendation scores what each configuration loses on each axis, "
            f"{_SCALES[material.view.normalisation]}, weighed by the priorities: {_METHODS[material.view.method]}. "
            "Its probabilities are counted in the same draws."
        )
    if _modelled_energy(material):
        energy = spec.energy
        found.append(
            "Energy is modelled, not measured, where marked: CPU seconds of the measured processes times "
            f"{energy.watts_per_busy_core:g} W, and memory held times {energy.watts_per_gb:g} W a GB. It compares "
            "configurations on this machine, and is no meter's reading."
        )
    return found


def limits_of_validity(material: Material) -> list[str]:
    """What a reader must know before relying on the figures."""
    points, keys = material.points, _used(material)
    found = [
        "The figures hold for the machine, the versions, the settings and the workloads named here. Another machine "
        "may order the configurations differently."
    ]
    found += caveats(points, keys)
    if text := emulated_text(points):
        found.append(text)
    alone = int((points.meta["runs"] == 1).sum())
    if alone:
        found.append(
            f"{count_of(alone, 'configuration')} {'was' if alone == 1 else 'were'} measured once: how much such a "
            "figure varies from run to run is not known from itself."
        )
    unknown = [key for key in material.axes if _without_error(material.shown, key)]
    if unknown:
        titles = "; ".join(key_title(key) for key in unknown)
        found.append(f"No interval is known of some values of: {titles}. Probabilities take these values as exact.")
    unpaired = [key for key in material.axes if _is_score(key) and key not in material.items]
    if unpaired:
        titles = "; ".join(key_title(key) for key in unpaired)
        found.append(f"Not all were asked the same items, so differences are less sure than they could be: {titles}.")
    requantized = int(points.meta["requantized"].sum())
    if requantized:
        found.append(
            f"{count_of(requantized, 'configuration')} {'has' if requantized == 1 else 'have'} weights made from an "
            "already quantized parent: what the parent lost is lost."
        )
    old = [
        key for key, versions in material.versions.items()
        if key in material.keys and set(versions) != {_version_now(key)}
    ]  # fmt: skip
    if old:
        titles = "; ".join(key_title(key) for key in old)
        found.append(f"Stored under an earlier definition than the one given below: {titles}.")
    found.append(
        "Of twenty 95 % intervals one misses the truth on average, and of many configurations the one that looks best "
        "is in part the luckiest."
    )
    hosts = {run.host.id for run in material.runs if run.host is not None and run.state is RunState.DONE}
    if len(hosts) > 1:
        found.append(
            f"The runs were made on {len(hosts)} different machines: do not compare speed or energy between them."
        )
    return found


def _version_now(key: str) -> int:
    definition = FIGURES.get(split_key(key)[0])
    return definition.version if definition else 1


def _used(material: Material) -> list[str]:
    columns = [key for axis in Axis for key in material.columns[axis]]
    return list(dict.fromkeys([*material.axes, *([material.size] if material.size else []), *columns]))


def _modelled_energy(material: Material) -> bool:
    return bool((material.points.method == Method.MODELLED.value).to_numpy().any())


def _without_error(points: Points, key: str) -> bool:
    return bool((points.value[key].notna() & points.error[key].isna()).any())


def _is_score(key: str) -> bool:
    return axis_of(key) is Axis.PERFORMANCE and split_key(key)[0] not in _NO_SHARES


def _times(repeats: int) -> str:
    return {1: "once", 2: "twice"}.get(repeats, f"{repeats} times")


def _workload(spec: WorkloadSpec) -> str:
    parts = [f"prompts of {spec.prompt_tokens:,} tokens", f"answers of {spec.output_tokens:,} tokens"]
    parts.append(f"{count_of(spec.requests, 'request')} after {count_of(spec.warmup_requests, 'warm-up request')}")
    if spec.sweep:
        what = "requests a second" if spec.rate is not None else "users"
        parts.append(f"{what} swept over {', '.join(f'{value:g}' for value in spec.sweep)}")
    elif spec.rate is not None:
        parts.append(f"{spec.rate:g} requests a second, at random times")
    elif spec.concurrency > 1:
        parts.append(f"{spec.concurrency} users at once")
    if spec.limits is not None:
        parts.append(_latency_limits(spec.limits))
    return f"{subject_title(spec.name)} ({', '.join(parts)})"


def _latency_limits(limits: LatencyLimits) -> str:
    parts = []
    if limits.ttft_s is not None:
        parts.append(f"first token within {limits.ttft_s:g} s")
    if limits.tpot_s is not None:
        parts.append(f"each further token within {limits.tpot_s:g} s")
    return "goodput counts requests with " + " and ".join(parts) if parts else "no limits"


def _suite(spec: SuiteSpec) -> str:
    items = f"{spec.limit:,} items" if spec.limit else "all items"
    parts = [items, *([f"{spec.concurrency} answered at once"] if spec.concurrency > 1 else [])]
    if spec.stopping is not None:
        parts.append(f"may stop early (error at most {spec.stopping.error:g})")
    return f"{subject_title(spec.name)} ({', '.join(parts)}, seed {spec.seed})"
