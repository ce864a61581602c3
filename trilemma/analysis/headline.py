"""Which figures stand for an axis where there is room for a few, and which two a chart begins with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trilemma.analysis.points import axis_of
from trilemma.analysis.subjects import level_of, subject_title
from trilemma.figures import FIGURES
from trilemma.schema import Axis, split_key

HEADLINES: dict[Axis, tuple[str, ...]] = {
    Axis.EFFICIENCY: (
        "peak_memory_bytes",
        "energy_per_solved_task_j",
        "energy_per_correct_answer_j",
        "energy_per_token_j",
        "peak_gpu_memory_bytes",
        "weights_bytes",
    ),
    Axis.SPEED: ("decode_tps", "ttft_s", "prefill_tps"),
    Axis.PERFORMANCE: ("success_rate", "accuracy_norm", "accuracy", "perplexity", "kl_divergence"),
}
_STATISTICS = ("", "median", "mean")


def in_order(keys: Iterable[str]) -> list[str]:
    """``keys`` of known figures, by axis and then as the figures are defined: the order of every list of figures."""
    ranks = {name: rank for rank, name in enumerate(FIGURES)}
    known = [key for key in keys if split_key(key)[0] in ranks]
    return sorted(known, key=lambda key: (list(Axis).index(FIGURES[split_key(key)[0]].axis), ranks[split_key(key)[0]]))


def headline_keys(keys: Sequence[str], per_axis: int = 3) -> dict[Axis, list[str]]:
    """The figures that stand for each axis, out of the ``keys`` there are; the middle one of several statistics."""
    found: dict[Axis, list[str]] = {}
    for axis, names in HEADLINES.items():
        hits: list[str] = []
        for name in names:
            of_figure = [key for key in keys if split_key(key)[0] == name]
            subjects: dict[str, str] = {}
            for statistic in _STATISTICS:
                for key in of_figure:
                    if split_key(key)[2] == statistic:
                        subjects.setdefault(split_key(key)[1], key)
            # Of a suite that has both, the length-normalised accuracy stands for it.
            hits += [
                key
                for key in subjects.values()
                if name != "accuracy" or f"accuracy_norm@{split_key(key)[1]}" not in keys
            ]
        found[axis] = hits[:per_axis]
    return found


_PRICES = {
    "energy_per_solved_task_j": ("success_rate",),
    "energy_per_correct_answer_j": ("accuracy", "accuracy_norm"),
}
"""What a right answer costs, and the scores that say how often there is one."""


def pictures(keys: Sequence[str], workloads: Sequence[str] = ()) -> dict[str, tuple[str, str]]:
    """Pairs of axes worth a look, by a name: what a token costs, a solved task, a right answer.

    The first is what a chart begins with; empty where there is no other.
    """
    found: dict[str, tuple[str, str]] = {}
    for figure, scores in _PRICES.items():
        for key in keys:
            name, subject, _ = split_key(key)
            level = level_of(subject)
            if name != figure or level is None:
                continue
            score = next((f"{one}@{level.workload}" for one in scores if f"{one}@{level.workload}" in keys), None)
            if score is not None:
                what = "Solved tasks" if name == "energy_per_solved_task_j" else "Right answers"
                found[f"{what}: {subject_title(subject)}"] = (key, score)
    if not found:
        return {}
    x, y, _ = default_axes(keys, workloads)
    return {"Tokens": (x, y), **found}


def default_axes(keys: Sequence[str], workloads: Sequence[str] = ()) -> tuple[str, str, str | None]:
    """What a chart begins with: energy per token of the first workload, an accuracy, and memory for the size.

    Args:
        keys: at least one key of a known figure.
        workloads: names in the user's order; the first that has energy is taken.

    Returns:
        The keys of the horizontal axis, the vertical axis and the size (None without memory).
    """
    ordered = in_order(keys)
    energy = [f"energy_per_token_j@{name}" for name in workloads]
    energy += [key for key in ordered if key.startswith("energy_per_token_j")]
    quality = ["accuracy_norm@hellaswag", *(key for key in ordered if axis_of(key) is Axis.PERFORMANCE)]
    x = next(key for key in [*energy, *ordered] if key in keys)
    y = next((key for key in [*quality, *reversed(ordered)] if key in keys and key != x), x)
    return x, y, "peak_memory_bytes" if "peak_memory_bytes" in keys else None
