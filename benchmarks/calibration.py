"""Do intervals cover what they say, and is an option on the front as often as its probability says?

First by simulation: studies like the demo's, of which the truth is known. Each configuration has a true energy a token,
memory and decoding speed, which its runs scatter around (by a few percent, not all alike, and within a run over its
requests), and a true share of right answers: items have a difficulty, models know different things, and quantizations
of one model mostly agree. Every simulated study goes through the functions that the pages use. Reported are the shares
of 95 % intervals that cover the truth - of means over repeats, of scores, of paired differences between two
configurations, of the front's hypervolume - and, by how probable it was said to be, how often a configuration is on the
true front.

Then by A/A, measured for real: the same weights under the same settings, entered as two configurations (the number of
threads left to the engine, and the same number given by hand), in repeats that take turns. Nothing differs, so what is
said to differ significantly is said wrongly.
"""

from __future__ import annotations

import argparse
import functools
import os
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks import common
from benchmarks.calibration_tools import twins
from benchmarks.common import Limit, say
from trilemma.analysis.draws import draw
from trilemma.analysis.front import as_costs, on_front
from trilemma.analysis.odds import box, directions, dominated_share, front_odds, hypervolume
from trilemma.analysis.paired import paired
from trilemma.analysis.points import Points, configuration_points
from trilemma.analysis.uncertainty import FloatArray
from trilemma.schema import Artifact
from trilemma.suites.shares import mean_measurement

COVERS = Limit(at_least=0.93, at_most=0.97)
LIMITS = {
    "coverage_of_means": COVERS,
    "coverage_of_scores": COVERS,
    "coverage_of_paired_differences": COVERS,
    "coverage_of_hypervolume": COVERS,
    "front_probability_off_by": Limit(at_most=0.03),
    "aa_share_significant": Limit(at_most=0.05),
}
MEANS = ("energy_per_token_j@short_chat", "peak_memory_bytes", "decode_tps@short_chat")
SCORE = "accuracy_norm@hellaswag"
LADDER = (
    *(("one", bits) for bits in (16.0, 8.5, 6.6, 4.9, 4.1, 3.3)),
    *(("two", bits) for bits in (4.9, 4.1, 3.3)),
)
"""Model and bits a weight."""
NAMES = tuple(f"c{i}" for i in range(len(LADDER)))
AXES = ((MEANS[0], SCORE), (MEANS[0], MEANS[2], SCORE))
"""The fronts that are looked at: two figures, and three."""
BINS = 10


@dataclass(frozen=True)
class Study:
    """What was measured of a simulated study, and the truth: configurations x (:data:`MEANS`, then :data:`SCORE`)."""

    points: Points
    items: dict[str, dict[str, float]]
    truth: pd.DataFrame


def simulated(rng: np.random.Generator) -> Study:
    """A study like the demo's: nine configurations of two models, two or three repeats, 50 to 400 items."""
    names = list(NAMES)
    bits = np.array([b for _, b in LADDER])
    second = np.array([model == "two" for model, _ in LADDER])
    repeats, requests, items = int(rng.integers(2, 4)), 24, int(rng.choice([50, 100, 200, 400]))
    wobble = np.exp(rng.normal(0, [[0.05], [0.02], [0.05]], (3, len(names))))
    true_means = wobble * np.array(
        [0.2 * (bits / 8) ** 0.4 * (1 + second), 1e8 * (1 + bits / 4) * (1 + second), 60 / (bits / 8) ** 0.4]
    )
    truth = pd.DataFrame(dict(zip(MEANS, true_means, strict=True)), index=names)
    ability = rng.normal(-0.2, 0.3) + 0.5 * second - rng.uniform(0, 8) / bits**1.5 + rng.normal(0, 0.25, len(names))
    own = rng.uniform(0.05, 0.5, len(names))
    difficulty, knows, luck = rng.normal(0, 1, items), rng.normal(0, 1, (2, items)), rng.normal(0, 1, (9, items))
    right = ability[:, None] - difficulty + knows[second.astype(int)] + own[:, None] * luck > 0
    truth[SCORE] = stats.norm.cdf(ability / np.sqrt(2 + own**2))
    rows = [
        row
        for key, scale, within in zip(MEANS, rng.uniform(0.002, 0.04, 3), (0.05, 0.0, 0.05), strict=True)
        for row in _repeats(rng, key, truth[key].to_numpy(), repeats, scale, within / np.sqrt(requests))
    ]
    for name, answers in zip(names, right, strict=True):
        told = mean_measurement("accuracy_norm", "hellaswag", answers.astype(float).tolist())
        rows.append((f"{name}-0", name, SCORE, told.value, told.low, told.high, told.n))
    runs = [(f"{name}-{repeat}", name) for name in names for repeat in range(repeats)]
    scores = {
        name: {str(i): float(a) for i, a in enumerate(answers)} for name, answers in zip(names, right, strict=True)
    }
    return Study(_points(rows, runs), scores, truth)


def _repeats(
    rng: np.random.Generator, key: str, truth: FloatArray, repeats: int, scale: float, own: float
) -> list[tuple[object, ...]]:
    """The runs' values of one figure: how much they scatter differs between configurations, around ``scale``."""
    rows: list[tuple[object, ...]] = []
    for i, true in enumerate(truth):
        between = scale * np.sqrt(8 / rng.chisquare(8))
        for repeat in range(repeats):
            value = true * np.exp(rng.normal(0, between) + rng.normal(0, own))
            ends = (value * (1 - 1.96 * own), value * (1 + 1.96 * own)) if own else (np.nan, np.nan)
            rows.append((f"c{i}-{repeat}", f"c{i}", key, value, *ends, 24))
    return rows


def _points(rows: list[tuple[object, ...]], runs: list[tuple[str, str]]) -> Points:
    columns = ["run_id", "configuration_id", "key", "value", "low", "high", "n"]
    frame = pd.DataFrame(rows, columns=columns).astype({"value": float, "low": float, "high": float})
    frame = frame.assign(disturbed=False, valid=True, method="measured", source="simulated")
    run_frame = pd.DataFrame(runs, columns=["run_id", "configuration_id"]).assign(
        quantization="q", engine="e", settings="{}", adapter_id=None, profile=None, machine=None, disturbed=False,
        finished_at=pd.Timestamp("2026-01-01", tz="UTC"),
    )  # fmt: skip
    artifacts = {name: _artifact(model, bits) for name, (model, bits) in zip(NAMES, LADDER, strict=True)}
    run_frame["model"] = [artifacts[name].model for name in run_frame["configuration_id"]]
    run_frame["artifact_id"] = run_frame["configuration_id"]
    found = configuration_points(frame, run_frame, artifacts, [*MEANS, SCORE])
    order = found.meta.index.argsort()
    return found.select(order)


def _artifact(model: str, bits: float) -> Artifact:
    return Artifact(
        id="0" * 64, path="", model=model, quantization="q", size_bytes=1, bits_per_weight=bits, source="simulated"
    )


def simulate(studies: int) -> dict[str, float]:
    """Shares over many simulated studies."""
    seeds = np.random.SeedSequence(0).spawn(studies)
    covered: dict[str, list[bool]] = {name: [] for name in ("means", "scores", "paired_differences", "hypervolume")}
    said: list[float] = []
    is_so: list[bool] = []
    with ProcessPoolExecutor(initializer=_one_thread) as pool:
        for number, (hits, odds, truth) in enumerate(pool.map(judged, seeds, chunksize=10), start=1):
            for name, values in hits.items():
                covered[name] += values
            said += odds
            is_so += truth
            if number % 200 == 0:
                say(f"  {number} of {studies} studies")
    figures = {f"coverage_of_{name}": float(np.mean(hits)) for name, hits in covered.items()}
    return figures | {"front_probability_off_by": _off_by(np.array(said), np.array(is_so))}


def _one_thread() -> None:
    """As many processes as cores: more threads would only wait for one another."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"


def judged(seed: np.random.SeedSequence) -> tuple[dict[str, list[bool]], list[float], list[bool]]:
    """Of one simulated study which intervals cover the truth, and of each configuration how probable it was said to be
    on the front and whether it is."""
    study = simulated(np.random.default_rng(seed))
    points, truth = study.points, study.truth.loc[study.points.meta.index]
    inside = (points.low[truth.columns] <= truth) & (truth <= points.high[truth.columns])
    covered = {"means": inside[list(MEANS)].to_numpy().ravel().tolist(), "scores": inside[SCORE].tolist()}
    covered |= {"paired_differences": [], "hypervolume": []}
    said: list[float] = []
    is_so: list[bool] = []
    first, *others = points.meta.index
    for other in others:
        found = paired(study.items[first], study.items[other])
        if found.low is not None and found.high is not None:
            difference = float(truth.loc[other, SCORE] - truth.loc[first, SCORE])
            covered["paired_differences"].append(found.low <= difference <= found.high)
    for keys in AXES:
        true = truth[list(keys)].to_numpy()
        said += front_odds(points, keys, {SCORE: study.items}).probability.tolist()
        is_so += on_front(true, directions(keys)).tolist()
        drawn = draw(points, keys, {SCORE: study.items})
        volume = hypervolume(drawn, keys)
        assert volume is not None
        best, worst = box(drawn, keys)
        real = dominated_share((as_costs(true, directions(keys)) - best) / (worst - best))
        covered["hypervolume"].append(volume.low <= real <= volume.high)
    return covered, said, is_so


def _off_by(said: FloatArray, is_so: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> float:
    """The largest distance, over ten classes of probability, between what was said and how often it was so."""
    worst = 0.0
    classes = np.minimum((said * BINS).astype(int), BINS - 1)
    for one in range(BINS):
        rows = classes == one
        if not rows.any():
            continue
        mean, share = float(said[rows].mean()), float(is_so[rows].mean())
        error = float(np.sqrt(max(share * (1 - share), 1e-9) / rows.sum()))
        say(f"  said {mean:.3f} of {rows.sum():5d} configurations: so in {share:.3f} +- {error:.3f}")
        worst = max(worst, abs(mean - share))
    return worst


def measure(options: argparse.Namespace) -> Mapping[str, float]:
    """Both parts."""
    figures = simulate(options.studies)
    return figures if options.simulate_only else figures | twins(options.repeats)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration", description=__doc__)
    parser.add_argument("--studies", type=int, default=4000, help="how many are simulated")
    parser.add_argument("--repeats", type=int, default=4, help="of each of the two configurations that are one")
    parser.add_argument(
        "--simulate-only", action="store_true", help="leave the measured part out; its limit then fails"
    )
    common.main("calibration", LIMITS, functools.partial(measure, parser.parse_args()))
