"""What a viewer reads tells nothing of where the server keeps things."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any

import pandas as pd

from tests import factory
from trilemma.access.redacted import RedactedStore
from trilemma.catalog.endpoints import endpoint_artifact
from trilemma.records import AnswerRecord, RequestRecord
from trilemma.schema import (
    Configuration,
    Measurement,
    Method,
    Provenance,
    RunSpec,
    RunState,
    StudySpec,
    SuiteSpec,
)
from trilemma.store import Store

SECRET = "/home/ann smith/models dir/x.gguf"
SETTINGS = {
    "chat_template": SECRET,
    "api_key_env": "COMPANY_KEY",
    "prometheus_url": "http://10.1.2.3:9090",
    "power_query": 'watts{instance="gpu-7.internal:9100"}',
    "energy_query": "joules{host='gpu-7.internal'}",
}
SERVED = "/srv/models/Qwen2"
"""What vLLM calls a model that it was given a folder of."""
TOLD = re.compile(r"ann smith|models dir|/srv/|/opt/|COMPANY_KEY|10\.1\.2\.3|gpu-7|4711|listens|ann@example")


def fill(store: Store) -> str:
    weights = factory.artifact(factory.SMOL, "Q8_0").model_copy(update={"path": SECRET})
    configuration = Configuration(artifact_id=weights.id, engine="llama.cpp", settings=SETTINGS)
    acting = store
    acting._by = "ann@example.org"
    acting.add_artifact(weights)
    acting.add_artifact(endpoint_artifact("http://10.1.2.3:8000/v1", SERVED, "as served"))
    suites = (SuiteSpec(name="own", options={"judge_url": "http://10.1.2.3/v1", "judge_key_env": "COMPANY_KEY"}),)
    spec = StudySpec(name="s", configurations=(configuration,), suites=suites)
    study = acting.add_study(spec, [RunSpec(configuration=configuration, suites=suites)])
    (run,) = acting.runs(study.id)
    store.claim_next("w")
    store.start_run(run.id, factory.HOST)
    store.set_progress(run.id, 0.5, f"reading {SECRET}")
    store.set_engine_info(run.id, {
        "library": "/opt/lib/libllama.so", "n": 1, "list": [SECRET], "address": "http://10.1.2.3:8000/v1",
        "metered_process": 4711, "metering": "the process that listens on port 8000 of this machine",
    })  # fmt: skip
    request = RequestRecord(workload="w", index=0, submitted_ns=1, error=f"FileNotFoundError: '{SECRET}'")
    store.add_requests(run.id, [request])
    detail = {"reason": f'File "/srv/x/y.py", line 3, in z, of {SECRET}', "choices": ["/usr/bin is", "/etc is not"]}
    answer = AnswerRecord(suite="s", item_id="1", index=0, prompt="p", answer="a", scores={"a": 1.0}, detail=detail)
    store.add_answers(run.id, [answer])
    provenance = Provenance(method=Method.MEASURED, source=f"meter {SECRET}", reasons=(f"no {SECRET}",))
    store.set_measurements(run.id, [Measurement(figure="decode_tps", value=1.0, provenance=provenance)])
    store.finish_run(
        run.id, RunState.DONE,
        reason=f"It left {SECRET} behind; http://10.1.2.3:8000/v1/models: 404; 10.1.2.3:8000 is gone.",
        log_tail=f"loading {SECRET}\nHOME=/srv/x",
        disturbed=True, disturbances=[f"/opt/backup/run took 40 %, of {SECRET}"],
    )  # fmt: skip
    return run.id


def texts(value: Any) -> str:
    if isinstance(value, pd.DataFrame):
        return value.to_csv()
    if hasattr(value, "model_dump_json"):
        return str(value.model_dump_json())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return str(dataclasses.asdict(value))
    if isinstance(value, list | tuple | set):
        return " ".join(map(texts, value))
    return str(value)


def test_no_method_that_reads_tells_a_path(store: Store) -> None:
    run_id = fill(store)
    redacted = store.reading_as(RedactedStore)
    study_id = store.studies()[0].id
    artifact_id = store.artifacts()[0].id
    known = {"run_id": run_id, "study_id": study_id, "artifact_id": artifact_id, "prefix_or_label": artifact_id[:12]}
    known |= {"suite": "s", "figure": "a", "run_ids": [run_id]}
    # What people are called and the raw log belong to the guard, which no viewer passes.
    left = {"audit", "usage", "created_by", "acting", "reading", "reading_as", "close"}
    told: dict[str, str] = {}
    plain: dict[str, str] = {}
    for name, method in inspect.getmembers(Store, inspect.isfunction):
        writes = "self._db.write(" in inspect.getsource(method) or "self._set" in inspect.getsource(method)
        if name.startswith("_") or writes or name in left:
            continue
        wanted = [p for p in inspect.signature(method).parameters.values() if p.default is p.empty][1:]
        if not all(p.name in known for p in wanted):
            continue
        arguments = {p.name: known[p.name] for p in wanted}
        told[name] = texts(getattr(redacted, name)(**arguments))
        plain[name] = texts(getattr(store, name)(**arguments))
    assert {"run", "runs", "run_frame", "artifacts", "artifact", "find_artifact", "studies", "study", "requests",
            "answers", "measurements", "figure_frame"} <= set(told)  # fmt: skip
    assert {name for name, text in plain.items() if TOLD.search(text)} >= {"run", "artifacts", "requests", "answers"}
    assert {name: TOLD.search(text) for name, text in told.items() if TOLD.search(text)} == {}
    assert TOLD.search(redacted.url) is None
    assert str(Path.cwd()) not in redacted.url


def test_what_is_the_questions_own_stays(store: Store) -> None:
    run_id = fill(store)
    redacted = store.reading_as(RedactedStore)
    (answer,) = redacted.answers(run_id)
    assert answer.detail["choices"] == ["/usr/bin is", "/etc is not"]
    assert redacted.run(run_id).log_tail == "Logs are shown to analysts."
    assert redacted.run(run_id).engine_info["n"] == 1


def test_colours_and_filters_call_a_model_what_its_runs_call_it(store: Store) -> None:
    fill(store)
    served = store.find_artifact(SERVED)
    configuration = Configuration(artifact_id=served.id, engine="endpoint")
    store.add_study(StudySpec(name="e", configurations=(configuration,)), [RunSpec(configuration=configuration)])
    store.add_artifact(factory.artifact(factory.GEMMA, "Q8_0").model_copy(update={"path": ""}))
    redacted = store.reading_as(RedactedStore)
    assert redacted.artifact(served.id).model == "…/Qwen2"
    assert redacted.models() == [name.replace(SERVED, "…/Qwen2") for name in store.models()]
    assert store.models()[-1] == factory.GEMMA
    frame = redacted.run_frame()
    assert set(frame["model"]) == {factory.SMOL, "…/Qwen2"} <= set(redacted.models())
    assert list(frame["model"]) == [name.replace(SERVED, "…/Qwen2") for name in store.run_frame()["model"]]
