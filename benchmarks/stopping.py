"""How many items does sequential stopping save, does it keep the order, and does it err as rarely as it says?

The demo's nine configurations answer all 1,838 items of PIQA (or another suite) once; that is the full suite (kept in
``.bench``, so that a second run of this benchmark only counts). Then each order of items and of configurations is
played through as a study would: the first configuration is asked everything, every other one until its place against
all before it is decided.

A decision is wrong if it contradicts the full suite: better or worse where the full suite says otherwise, or equal
where the full suite's difference is not within the margin. ``contradictions`` counts the configurations whose place has
any, in the study as the demo would run it (seed 0); ``places_with_an_error`` is their share over many studies in other
orders, which the stated error bounds. A harder case beside it, by simulation: pairs whose true difference lies exactly
on the margin, is zero or just not, where every decision that can be wrong is as likely as it gets.

What bounds ``items_share``: ``items_share_of_best_bets`` is about what bets would take that knew each pair's shares of
gains and losses in advance and so grew as fast as any can (Kelly, "A new interpretation of information rate", Bell
System Technical Journal 35(4), 1956); ours learn the shares as they go. Of n items that endless suites would take at
that growth, one of N items takes n N / (n + N): its mean varies by 1/n - 1/N.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from scipy.optimize import minimize_scalar
from scipy.stats import kendalltau

from benchmarks import common
from benchmarks.common import BENCH, Limit, say
from trilemma import registry
from trilemma.analysis.sequential import PairedTest
from trilemma.bench.stopping import Rival, Stopping
from trilemma.catalog.catalog import Catalog
from trilemma.demo import LADDERS, ladders
from trilemma.engines.llama_cpp import LlamaCpp
from trilemma.records import AnswerRecord
from trilemma.schema import Artifact, StoppingRule, SuiteSpec
from trilemma.settings import Settings
from trilemma.store import open_store
from trilemma.suites.base import SuiteContext

RULE = StoppingRule()
LIMITS = {
    "items_share": Limit(at_most=0.4),
    "contradictions": Limit(at_most=0),
    "places_with_an_error": Limit(at_most=RULE.error),
    "simulated_error": Limit(at_most=RULE.error),
}
Scores = dict[str, dict[str, float]]
"""By configuration, by item."""


def artifacts(folder: Path) -> list[Artifact]:
    """The demo's, made once."""
    settings = Settings(home=folder / "home", database="")
    settings.ensure_home()
    with open_store(settings.database_url) as store:
        return ladders(Catalog(store, settings), LADDERS, Console())


def ask(artifact: Artifact, suite: str, kept: Path) -> None:
    """Keep the headline score of every item."""
    say(f"{artifact.label}: all items of {suite} ...")
    context = SuiteContext(SuiteSpec(name=suite), None, "", lambda _: None)
    with LlamaCpp().load(artifact, {"context": 1024, "threads": 1}) as model:
        answers = registry.load("trilemma.suites", suite)().answers(model, context)
        scores = {answer.item_id: next(iter(answer.scores.values())) for answer in answers}
    partial = kept.with_suffix(".partial")
    partial.write_text(json.dumps(scores))
    partial.rename(kept)


def answered(folder: Path, suite: str) -> Scores:
    """The headline score of every item, by configuration; asked once and kept, a configuration a core at a time."""
    made = artifacts(folder)
    kept = {artifact.label: folder / f"{suite}-{artifact.id[:16]}.json" for artifact in made}
    missing = [artifact for artifact in made if not kept[artifact.label].is_file()]
    # Processes of their own: a core each, and none inherits an engine.
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for done in [pool.submit(ask, artifact, suite, kept[artifact.label]) for artifact in missing]:
            done.result()
    found = {label: json.loads(file.read_text()) for label, file in kept.items()}
    for label, scores in found.items():
        say(f"  {label}: {np.mean(list(scores.values())):.3f}")
    return found


def study(scores: Scores, names: Sequence[str], items: Sequence[str]) -> tuple[dict[str, list[str]], int]:
    """Each configuration's items until it may stop, and how many places the full suite contradicts."""
    asked: dict[str, list[str]] = {}
    wrong = 0
    for name in names:
        rivals = [Rival(label=o, scores={i: scores[o][i] for i in asked[o]}) for o in asked]
        stopping = Stopping(RULE, len(items), rivals)
        asked[name] = []
        for index, item in enumerate(items):
            asked[name].append(item)
            score = scores[name][item]
            if stopping.add(
                AnswerRecord(suite="", item_id=item, index=index, prompt="", answer="", scores={"accuracy": score})
            ):
                break
        wrong += any(
            contradicts(verdict, float(np.mean([scores[name][i] - scores[rival][i] for i in items])))
            for rival, verdict in stopping.verdicts()
        )
    return asked, wrong


def contradicts(verdict: str | None, difference: float) -> bool:
    """Whether a decision is not what the difference over all items says."""
    return (
        (verdict == "better" and difference <= 0)
        or (verdict == "worse" and difference >= 0)
        or (verdict == "equal" and abs(difference) >= max(RULE.margin, 1e-12))
    )


def growth(differences: npt.NDArray[np.float64], null: float) -> float:
    """The most that a bet against a mean of at most ``null`` can gain an item, in nats; 0 if the mean is no larger."""
    if differences.mean() <= null:
        return 0.0
    worst = minimize_scalar(
        lambda stake: -float(np.log1p(stake * (differences - null)).mean()),
        bounds=(0.0, 0.999 / (1.0 + null)),
        method="bounded",
    )
    return -float(worst.fun)


def best_bets(scores: Scores, names: Sequence[str], items: Sequence[str]) -> float:
    """The share of the items that is asked if every pair is decided by the best bets; the first is asked everything."""
    asked: dict[str, float] = {}
    for name in names:
        needed = [0.0] if asked else [float(len(items))]
        for rival, rivals_items in asked.items():
            difference = np.array([scores[name][i] - scores[rival][i] for i in items])
            error = RULE.error / len(asked)
            apart = max(growth(difference, 0.0), growth(-difference, 0.0)) / math.log(2 / error)
            alike = min(growth(difference, -RULE.margin), growth(-difference, -RULE.margin)) / math.log(1 / error)
            endless = 1 / max(apart, alike, 1e-9)
            needed.append(min(endless * len(items) / (endless + len(items)), rivals_items))
        asked[name] = max(RULE.least, min(max(needed), len(items)))
    return sum(asked.values()) / (len(items) * len(names))


def simulated_error(rounds: int) -> float:
    """The largest share of wrong decisions of one pair at the level of ``RULE``, over the hardest differences."""
    cases = list(itertools.product((0.0, 0.002, RULE.margin), (0.03, 0.3)))
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        rates = list(pool.map(wrong_decisions, cases, itertools.repeat(rounds)))
    for (difference, flips), rate in zip(cases, rates, strict=True):
        error = math.sqrt(rate * (1 - rate) / rounds)
        say(f"  difference {difference:g}, flips {flips:g}: wrong in {rate:.4f} +- {error:.4f} of {rounds} rounds")
    return max(rates)


def wrong_decisions(case: tuple[float, float], rounds: int, total: int = 1000) -> float:
    """The share of orders of ``total`` items in which a pair with this difference and share of flips is misjudged."""
    difference, flips = case
    rng = np.random.default_rng(0)
    gains = round(total * (flips + difference) / 2)
    losses = round(total * flips) - gains
    values = np.array([1.0] * gains + [-1.0] * losses + [0.0] * (total - gains - losses))
    wrong = 0
    for _ in range(rounds):
        test = PairedTest(total, RULE.margin)
        verdict = None
        for value in rng.permutation(values):
            test.add(max(value, 0.0), max(-value, 0.0))
            if verdict := test.verdict(RULE.error):
                break
        wrong += contradicts(verdict, float(values.mean()))
    return wrong / rounds


def measure(options: argparse.Namespace) -> Mapping[str, float]:
    """All of it."""
    folder = BENCH / "stopping"
    folder.mkdir(parents=True, exist_ok=True)
    scores = answered(folder, options.suite)
    names = list(scores)
    items = list(scores[names[0]])  # as the suite asked them, in the order of seed 0
    asked, contradictions = study(scores, names, items)
    for name in names:
        say(f"  {name}: {len(asked[name])} of {len(items)} items")
    share = sum(map(len, asked.values())) / (len(items) * len(names))
    whole = [float(np.mean([scores[name][i] for i in items])) for name in names]
    early = [float(np.mean([scores[name][i] for i in asked[name]])) for name in names]
    rng = np.random.default_rng(1)
    errors, shares = 0, []
    for _ in range(options.studies):
        mixed, wrong = study(scores, list(rng.permutation(names)), list(rng.permutation(items)))
        errors += wrong
        shares.append(sum(map(len, mixed.values())) / (len(items) * len(names)))
    return {
        "items_share": share,
        "items_share_of_best_bets": best_bets(scores, names, items),
        "items_share_of_other_orders": float(np.mean(shares)),
        "contradictions": contradictions,
        "rank_correlation": float(kendalltau(whole, early).statistic),
        "places_with_an_error": errors / (options.studies * len(names)),
        "simulated_error": simulated_error(options.rounds),
    }


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stopping", description=__doc__)
    parser.add_argument("--suite", default="piqa", help="one whose answers are chosen")
    parser.add_argument("--studies", type=int, default=100, help="studies in other orders that are played through")
    parser.add_argument("--rounds", type=int, default=4000, help="rounds of each simulated difference")
    common.main("stopping", LIMITS, functools.partial(measure, parser.parse_args()))
