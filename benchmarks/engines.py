"""Do llama.cpp and vLLM give the same answers with the same weights, and do both stand on one Pareto chart?

SmolLM2-135M-Instruct is dequantised to F16 and converted to safetensors, and one study measures both through the same
bench: llama.cpp on the F16 file, vLLM on the folder in float32. HellaSwag and PIQA answers are compared item by item.
Both run in the environment of ``make test-vllm``, which is made if it is missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from importlib.util import find_spec

from benchmarks.common import BENCH, ROOT, Figures, Limit, main, say
from trilemma.analysis.points import configuration_points, labels
from trilemma.catalog.catalog import Catalog
from trilemma.records import RunRecord
from trilemma.schema import Configuration, RunState, StudySpec, SuiteSpec, WorkloadSpec
from trilemma.settings import Settings
from trilemma.store import Store, open_store
from trilemma.study import submit

ITEMS = 200
SUITES = ("hellaswag", "piqa")
METRICS = ("accuracy", "accuracy_norm")
LIMITS = {
    **{f"{suite}_{metric}_agreement": Limit(at_least=0.98) for suite in SUITES for metric in METRICS},
    "configurations_on_the_chart": Limit(at_least=2, at_most=2),
}
AXES = ("peak_memory_bytes", "output_tps@short_chat x8", "accuracy_norm@hellaswag")
CHAT = WorkloadSpec(name="short_chat", prompt_tokens=128, output_tokens=64, requests=5)


def in_the_vllm_environment(name: str) -> None:
    """Start the benchmark ``name`` over in the environment that has vLLM, if this one has not."""
    if find_spec("vllm") is not None:
        return
    folder = ROOT / ".venv-vllm"
    subprocess.run(["make", "--no-print-directory", f"{folder.name}/.installed"], cwd=ROOT, check=True)
    python = str(folder / "bin" / "python")
    os.execv(python, [python, "-m", f"benchmarks.{name}", *sys.argv[1:]])


def bench(store: Store, settings: Settings) -> RunRecord:
    """The next run, measured."""
    run = store.claim_next("benchmark")
    assert run is not None
    say(f"{run.spec.configuration.engine} ...")
    started = time.monotonic()
    environment = os.environ | {"TRILEMMA_HOME": str(settings.home), "TRILEMMA_DATABASE": settings.database_url}
    subprocess.run([sys.executable, "-m", "trilemma.bench", run.id], check=False, env=environment)
    done = store.run(run.id)
    say(f"{run.spec.configuration.engine}: {done.state} in {time.monotonic() - started:.0f} s {done.reason}")
    return done


def measure() -> Figures:
    """One study of both engines."""
    home = BENCH / "engines"
    shutil.rmtree(home / "home", ignore_errors=True)
    settings = Settings(home=home / "home", database="")
    settings.ensure_home()
    with open_store(settings.database_url) as store:
        catalog = Catalog(store, settings)
        f16 = catalog.quantise(
            catalog.add("packages", next(o.reference for o in catalog.offers("SmolLM2", "packages"))), "F16"
        )
        folder = catalog.convert(f16, "f16")
        study = StudySpec(
            name="Both engines",
            configurations=(
                Configuration(artifact_id=f16.id, engine="llama.cpp", settings={"context": 1024, "slots": 8}),
                Configuration(artifact_id=folder.id, engine="vllm", settings={"context": 1024, "dtype": "float32"}),
            ),
            workloads=(CHAT, CHAT.model_copy(update={"concurrency": 8, "requests": 24})),
            suites=tuple(SuiteSpec(name=name, limit=ITEMS) for name in SUITES),
            repeats=1,
        )
        record = submit(store, study)
        runs = [bench(store, settings) for _ in study.configurations]
        figures: dict[str, float | int | str | bool | None] = {
            f"{run.spec.configuration.engine}_state": str(run.state) for run in runs
        }
        if any(run.state is not RunState.DONE for run in runs):
            return figures
        for suite in SUITES:
            sides = [{a.item_id: a for a in store.answers(run.id) if a.suite == suite} for run in runs]
            assert sides[0].keys() == sides[1].keys()
            figures[f"{suite}_items"] = len(sides[0])
            for metric in METRICS:
                same = [sides[0][item].scores[metric] == sides[1][item].scores[metric] for item in sides[0]]
                figures[f"{suite}_{metric}_agreement"] = sum(same) / len(same)
        points = configuration_points(
            store.figure_frame(study_id=record.id),
            store.run_frame(record.id),
            {a.id: a for a in store.artifacts()},
            AXES,
        )
        figures["configurations_on_the_chart"] = int(points.complete(AXES).sum())
        for row, label in enumerate(labels(points)):
            say(f"{label}: " + ", ".join(f"{key} {points.value[key].iloc[row]:.4g}" for key in AXES))
            figures |= {f"{points.meta['engine'].iloc[row]} {key}": float(points.value[key].iloc[row]) for key in AXES}
        return figures


if __name__ == "__main__":
    in_the_vllm_environment("engines")
    main("engines", LIMITS, measure)
