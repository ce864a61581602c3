"""A LoRA adapter is part of a configuration: measured beside its base, in one study."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engines.adapters import random_adapter
from trilemma.analysis.points import configuration_points, labels
from trilemma.catalog.catalog import Catalog
from trilemma.engines.base import AdaptingEngine, GenerationRequest
from trilemma.engines.endpoint import Endpoint
from trilemma.engines.llama_cpp import LlamaCpp
from trilemma.errors import LoadError, StudyError
from trilemma.schema import Artifact, Configuration, RunState, StudySpec, SuiteSpec
from trilemma.settings import Settings
from trilemma.store import Store
from trilemma.study import plan, submit, with_adapters

pytestmark = pytest.mark.llama


@pytest.fixture
def weights(
    store: Store, settings: Settings, smollm2_path: Path, tmp_path: Path
) -> tuple[Artifact, Artifact, Artifact]:
    """The base, an adapter for it as PEFT, and the same as GGUF."""
    catalog = Catalog(store, settings)
    base = catalog.add_path(smollm2_path)
    peft = catalog.add_path(random_adapter(tmp_path / "law", base.model))
    return base, peft, catalog.convert(peft)


def test_an_adapter_changes_what_the_model_says(weights: tuple[Artifact, Artifact, Artifact]) -> None:
    base, _, adapter = weights
    engine = LlamaCpp()
    assert isinstance(engine, AdaptingEngine)
    assert not isinstance(Endpoint(), AdaptingEngine)
    said = []
    for load in (lambda: engine.load(base, {}), lambda: engine.load_adapted(base, {}, adapter)):
        with load() as model:
            prompt = model.chat_prompt([{"role": "user", "content": "Why is the sky blue?"}])
            alone = model.generate(GenerationRequest(prompt, 16, ignore_eos=True)).tokens
            said.append((alone, model.describe()["adapter"]))
            # Contexts that are made for scoring are adapted too.
            logits = next(iter([rows.copy() for rows in model.logits([prompt], first=len(prompt) - 1)]))
            assert int(logits[-1].argmax()) == alone[0]
    assert said[0][1] is None
    assert said[1][1] == Path(adapter.path).name
    assert said[0][0] != said[1][0]


def test_a_base_and_its_fine_tune_are_two_configurations(
    store: Store, weights: tuple[Artifact, Artifact, Artifact]
) -> None:
    base, peft, adapter = weights
    alone = Configuration(artifact_id=base.id, engine="llama.cpp", settings={"context": 512})
    both = with_adapters([alone], [adapter])
    assert len({one.id for one in both}) == 2
    spec = StudySpec(name="law", configurations=both, suites=(SuiteSpec(name="piqa", limit=4),), repeats=1, idle_s=0.1)
    with pytest.raises(StudyError, match="does not apply adapters in safetensors"):
        plan(spec.model_copy(update={"configurations": with_adapters([alone], [peft])}), store.artifacts())
    with pytest.raises(StudyError, match="has no adapter"):
        wrong = alone.model_copy(update={"adapter_id": base.id})
        plan(spec.model_copy(update={"configurations": (wrong,)}), store.artifacts())
    record = submit(store, spec)
    for _ in both:
        run = store.claim_next("test")
        assert run is not None
        subprocess.run([sys.executable, "-m", "trilemma.bench", run.id], env=os.environ, check=False)
        assert store.run(run.id).state is RunState.DONE, store.run(run.id).reason
    key = "accuracy@piqa"
    points = configuration_points(
        store.figure_frame(study_id=record.id), store.run_frame(record.id), {a.id: a for a in store.artifacts()}, [key]
    )
    assert len(points) == 2
    assert points.complete([key]).all()
    assert sum(adapter.label in name for name in labels(points)) == 1


def test_an_adapter_for_another_model_is_refused(weights: tuple[Artifact, Artifact, Artifact], tmp_path: Path) -> None:
    base, _, adapter = weights
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(Path(adapter.path).read_bytes()[:2000])
    with pytest.raises(LoadError, match="cannot apply"):
        LlamaCpp().load_adapted(base, {}, adapter.model_copy(update={"path": str(broken)}))
