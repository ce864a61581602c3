"""What other configurations of a study have scored already, for suites that may stop early."""

from __future__ import annotations

from trilemma.bench.stopping import Rival
from trilemma.records import RunRecord
from trilemma.schema import RunState, SuiteSpec
from trilemma.store import Store


def rivals_of(store: Store, run: RunRecord) -> dict[str, tuple[Rival, ...]]:
    """By suite the scores of other configurations, each once."""
    wanted = [suite for suite in run.spec.suites if suite.stopping is not None]
    if not wanted:
        return {}
    others: dict[str, RunRecord] = {}
    for study_id in run.study_ids:
        for other in store.runs(study_id=study_id, states=[RunState.DONE]):
            if other.spec.suites and other.spec.configuration != run.spec.configuration:
                others.setdefault(other.spec.configuration.id, other)
    return {suite.name: tuple(_rivals(store, others, suite)) for suite in wanted}


def _rivals(store: Store, others: dict[str, RunRecord], suite: SuiteSpec) -> list[Rival]:
    found = []
    for other in others.values():
        if suite in other.spec.suites:
            answers = store.answers(other.id, suite.name)
            scores = {a.item_id: next(iter(a.scores.values()), 0.0) for a in answers}
            found.append(Rival(label=other.spec.configuration.id[:8], scores=scores))
    return found
