"""What earlier runs know already: others' scores, for suites that may stop early, and answers that need no asking."""

from __future__ import annotations

from trilemma import registry
from trilemma.bench.stopping import Rival
from trilemma.engines.base import Engine, settings_of_answers
from trilemma.records import AnswerRecord, HostInfo, RunRecord, WholeRun
from trilemma.schema import Artifact, RunState, SuiteSpec
from trilemma.store import Store


def rivals_of(store: Store, run: RunRecord) -> dict[str, tuple[Rival, ...]]:
    """By suite the scores of other configurations, each once."""
    wanted = [suite for suite in run.spec.suites if suite.stopping is not None]
    others = _others(store, run)
    return {suite.name: tuple(_rivals(store, others, suite)) for suite in wanted}


def _others(store: Store, run: RunRecord) -> dict[str, RunRecord]:
    """By configuration the runs whose scores count where a suite may stop early; none where none may."""
    others: dict[str, RunRecord] = {}
    if any(suite.stopping is not None for suite in run.spec.suites):
        for study_id in run.study_ids:
            for other in store.runs(study_id=study_id, states=[RunState.DONE]):
                if other.spec.suites and other.spec.configuration != run.spec.configuration:
                    others.setdefault(other.spec.configuration.id, other)
    return others


def _rivals(store: Store, others: dict[str, RunRecord], suite: SuiteSpec) -> list[Rival]:
    found = []
    for other in others.values():
        if suite in other.spec.suites:
            answers = store.answers(other.id, suite.name)
            scores = {a.item_id: next(iter(a.scores.values()), 0.0) for a in answers}
            found.append(Rival(label=other.spec.configuration.id[:8], scores=scores))
    return found


def known_answers(store: Store, run: RunRecord, artifact: Artifact) -> dict[str, tuple[AnswerRecord, ...]]:
    """By suite the items that the same weights have answered with the same engine, and settings that matter to answers.

    Only of suites that are neither timed nor metered, and never of an endpoint, whose weights may have changed.
    """
    earlier = _alike(store, run, artifact)
    found = {}
    for suite in run.spec.suites:
        known: dict[str, AnswerRecord] = {}
        for other in earlier:
            if any(one.name == suite.name and one.options == suite.options for one in other.spec.suites):
                for answer in store.answers(other.id, suite.name):
                    if "requests" not in answer.detail:
                        known.setdefault(answer.item_id, answer)
        if known:
            found[suite.name] = tuple(known.values())
    return found


def _alike(store: Store, run: RunRecord, artifact: Artifact) -> list[RunRecord]:
    if artifact.format == "endpoint" or not run.spec.suites:
        return []
    engine: Engine = registry.load("trilemma.engines", run.spec.configuration.engine)()
    return [
        other
        for other in store.runs(states=[RunState.DONE], artifact_id=artifact.id, newest_first=True)
        if other.spec.suites and _answers_alike(engine, run, other)
    ]


def worth_lending(store: Store, run: RunRecord, artifact: Artifact, host: HostInfo) -> list[WholeRun]:
    """The runs, with their answers, that a run measured on another machine has to know: of its own weights, those of
    that machine alone, since another's arithmetic may answer otherwise."""
    runs = {other.id: other for other in _others(store, run).values()}
    for other in _alike(store, run, artifact):
        if other.host is not None and (other.host.id, other.host.name) == (host.id, host.name):
            runs[other.id] = other
    names = [suite.name for suite in run.spec.suites]
    return [
        WholeRun(run=other, answers=tuple(answer for name in names for answer in store.answers(other.id, name)))
        for other in runs.values()
    ]


def _answers_alike(engine: Engine, run: RunRecord, other: RunRecord) -> bool:
    mine, its = run.spec, other.spec
    return (
        # Another machine, of the database or of a cluster, computes otherwise.
        (mine.device, run.machine) == (its.device, other.machine)
        and mine.configuration.engine == its.configuration.engine
        and mine.engine_version == its.engine_version
        and mine.configuration.adapter_id == its.configuration.adapter_id
        and settings_of_answers(engine.settings_type, mine.configuration.settings)
        == settings_of_answers(engine.settings_type, its.configuration.settings)
    )
