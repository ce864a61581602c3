from __future__ import annotations

from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

from trilemma.errors import StudyError
from trilemma.schema import Artifact, Configuration, Needs, RunSpec, RunState, StudySpec, SuiteSpec, WorkloadSpec
from trilemma.settings import get_settings
from trilemma.store import Store
from trilemma.study import estimate, plan, reference_of, submit

CHAT = WorkloadSpec(name="short_chat", prompt_tokens=64, output_tokens=16, requests=3)
PIQA = SuiteSpec(name="piqa", limit=10)
DIVERGENCE = SuiteSpec(name="divergence", limit=2)


def artifact(number: int, quantization: str, bits: float, model: str = "A", **more: object) -> Artifact:
    return Artifact(
        id=f"{number:064x}",
        path=f"/nowhere/{number}.gguf",
        model=model,
        quantization=quantization,
        bits_per_weight=bits,
        parameters=1_000_000,
        size_bytes=int(bits * 125_000),
        source="folder",
        **more,  # type: ignore[arg-type]
    )


LADDER = [artifact(1, "F16", 16), artifact(2, "Q8_0", 8.5), artifact(3, "Q4_K_M", 4.8), artifact(4, "Q8_0", 8.5, "B")]


def study(*artifacts: Artifact, **more: object) -> StudySpec:
    values = {"name": "study", "workloads": (CHAT,), "suites": (PIQA, DIVERGENCE), "repeats": 3} | more
    configurations = tuple(Configuration(artifact_id=a.id, engine="llama.cpp") for a in artifacts)
    return StudySpec(configurations=configurations, **values)  # type: ignore[arg-type]


def test_every_configuration_is_repeated_and_asked_once() -> None:
    runs = plan(study(*LADDER), LADDER)
    assert Counter(run.configuration.artifact_id for run in runs) == {a.id: 3 for a in LADDER}
    assert all(bool(run.suites) == (run.repeat == 0) for run in runs)
    # Repeats are interleaved: each round is complete before the next begins.
    assert [run.repeat for run in runs] == sorted(run.repeat for run in runs)


def test_divergence_is_taken_against_the_highest_precision_of_the_same_model() -> None:
    references = {run.configuration.artifact_id: run.reference_id for run in plan(study(*LADDER), LADDER) if run.suites}
    assert references == {LADDER[0].id: LADDER[0].id, LADDER[1].id: LADDER[0].id, LADDER[2].id: LADDER[0].id,
                          LADDER[3].id: LADDER[3].id}  # fmt: skip
    twin = artifact(9, "F16", 16, requantized=True)
    assert reference_of(LADDER[1], [twin, *LADDER]) == LADDER[0]


def test_a_suite_is_asked_once() -> None:
    with pytest.raises(StudyError, match="asked twice"):
        plan(study(*LADDER, suites=(PIQA, PIQA.model_copy(update={"limit": 20}))), LADDER)


def test_an_adapter_cannot_be_measured_by_itself() -> None:
    adapter = artifact(5, "F16", 16, kind="adapter")
    assert reference_of(LADDER[1], [adapter.model_copy(update={"bits_per_weight": 32}), *LADDER]) == LADDER[0]
    with pytest.raises(StudyError, match="is an adapter"):
        plan(study(adapter), [adapter])


def test_without_speed_one_repeat_is_enough() -> None:
    assert len(plan(study(*LADDER, workloads=()), LADDER)) == len(LADDER)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (study(LADDER[0], workloads=(), suites=()), "measures nothing"),
        (study(artifact(77, "F16", 16)), "no artifact"),
        (study(LADDER[0], LADDER[0]), "listed twice"),
    ],
)
def test_a_study_that_cannot_run_is_refused(spec: StudySpec, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        plan(spec, LADDER)


@pytest.mark.parametrize(
    ("engine", "settings", "message"),
    [("llama.cpp", {"contxt": 1}, "contxt"), ("nonesuch", {}, "no engine named 'nonesuch'")],
)
def test_a_wrong_setting_is_named(engine: str, settings: dict[str, int], message: str) -> None:
    configuration = Configuration(artifact_id=LADDER[0].id, engine=engine, settings=dict(settings))
    with pytest.raises(StudyError, match=message):
        plan(StudySpec(name="x", configurations=(configuration,), workloads=(CHAT,)), LADDER)


def test_what_was_measured_is_reused(store: Store) -> None:
    for each in LADDER:
        store.add_artifact(each)
    first = study(*LADDER[:2])
    assert estimate(first, LADDER, store).reused == 0
    submit(store, first)
    run = store.claim_next("test")
    assert run is not None
    store.finish_run(run.id, RunState.DONE)
    again = estimate(study(*LADDER), LADDER, store)
    assert (again.runs, again.reused) == (12, 6)  # one done, five still waiting
    assert 0 < again.seconds < estimate(study(*LADDER), LADDER).seconds * 2
    record = submit(store, study(*LADDER, name="again"))
    assert sum(record.runs_by_state.values()) == 12
    assert record.runs_by_state[RunState.DONE] == 1
    assert len(store.runs()) == 12  # the six of the first study are not queued twice


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed here")
def test_a_version_that_is_not_here_is_not_made_up() -> None:
    weights = artifact(1, "F16", 16, format="safetensors")
    spec = study(weights, suites=()).model_copy(
        update={"configurations": (Configuration(artifact_id=weights.id, engine="vllm"),)}
    )
    assert {run.engine_version for run in plan(spec, [weights])} == {""}
    assert all(run.engine_version.startswith("llama-cpp-python ") for run in plan(study(*LADDER), LADDER))


def test_more_work_takes_longer() -> None:
    small = estimate(study(*LADDER[:2]), LADDER)
    large = estimate(study(*LADDER[:2], repeats=6), LADDER)
    assert large.seconds > small.seconds
    assert large.disk_bytes > small.disk_bytes


def test_the_leave_to_share_a_gpu_goes_with_each_run_and_changes_nothing_for_those_without() -> None:
    (kept,) = plan(study(LADDER[0], repeats=1), LADDER)
    (shared,) = plan(study(LADDER[0], repeats=1, allow_shared_gpu=True), LADDER)
    assert (kept.allow_shared_gpu, shared.allow_shared_gpu) == (False, True)
    assert kept.fingerprint != shared.fingerprint
    assert kept.fingerprint == shared.model_copy(update={"allow_shared_gpu": False}).fingerprint


def test_a_study_on_several_machines_measures_everything_on_each(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = study(*LADDER[:2], machines=("big", "edge"), needs=Needs(gpus=1))
    with pytest.raises(StudyError, match="no cluster"):
        plan(asked, LADDER)
    monkeypatch.setenv("TRILEMMA_RAY_ADDRESS", "127.0.0.1:6379")
    get_settings.cache_clear()
    runs = plan(asked, LADDER)
    assert {run.needs.gpus for run in runs} == {1}
    pairs = Counter((run.configuration.artifact_id, run.needs.machine) for run in runs)
    assert pairs == {(a.id, name): 3 for a in LADDER[:2] for name in ("big", "edge")}
    assert all(bool(run.suites) == (run.repeat == 0) for run in runs), "questions are asked on each"
    assert len({run.fingerprint for run in runs}) == len(runs)
    with pytest.raises(StudyError, match="listed twice"):
        plan(study(LADDER[0], machines=("big", "big")), LADDER)


def test_a_study_that_asks_for_nothing_is_the_measurement_that_it_always_was() -> None:
    """What was measured before there were machines is still reused."""
    run = plan(study(LADDER[0]), LADDER)[0]
    assert run.fingerprint == RunSpec.model_validate(run.model_dump(exclude={"needs"})).fingerprint
    assert "needs" not in run.model_dump(exclude_defaults=True)
