"""Studies to report on: a plain one, and one in which everything is hostile or private."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

from tests.factory import HOST, WORKLOAD, artifact
from trilemma.records import StudyRecord
from trilemma.schema import Configuration, Measurement, Method, Provenance, RunSpec, RunState, StudySpec
from trilemma.store import Store

HOSTILE = "</script><img src=x onerror=alert(1)>\u2028<b>&amp;"
FOLDER = "/home/ada lovelace/models"
SECRET = "hf_AbCdEfGhIjKlMnOpQrSt"


class Page(HTMLParser):
    """What a browser makes of a report: elements, their attributes, the text that is seen, and scripts by id."""

    def __init__(self, html: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self._inside = ""
        self.feed(html.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)
        elif self._inside != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        """All that is seen, white space folded."""
        return " ".join(" ".join(self.texts).split())

    def data(self, name: str) -> Any:
        """The JSON of a script element."""
        return json.loads(next(text for attributes, text in self.scripts if attributes.get("id") == name))


def hostile_study(store: Store) -> StudyRecord:
    """A study whose names, reasons and facts come from somebody who means ill, or name private places."""
    item = artifact(HOSTILE, "Q8_0").model_copy(update={"path": f"{FOLDER}/secret model.gguf"})
    store.add_artifact(item)
    settings = {"threads": 2, "grammar": HOSTILE, "lora": f"{FOLDER}/an adapter.gguf"}
    configuration = Configuration(artifact_id=item.id, engine="llama.cpp", settings=settings)
    runs = [RunSpec(configuration=configuration, workloads=(WORKLOAD,), repeat=repeat) for repeat in range(3)]
    spec = StudySpec(name=HOSTILE, configurations=(configuration,), workloads=(WORKLOAD,), repeats=3)
    study = store.add_study(spec, runs)
    while run := store.claim_next("test"):
        store.start_run(run.id, HOST.model_copy(update={"cpu": HOSTILE}))
        store.set_engine_info(run.id, {"library": f"{FOLDER}/lib/libllama.so", "key": SECRET, "note": HOSTILE})
        if run.spec.repeat == 0:
            reason = f"{HOSTILE} cannot open {FOLDER}/secret model.gguf with Authorization: Bearer {SECRET}"
            store.finish_run(run.id, RunState.FAILED, reason=reason)
            continue
        about = Provenance(method=Method.MEASURED, source=HOSTILE, reasons=(HOSTILE,))
        figures = {"decode_tps": 90.0 + run.spec.repeat, "energy_per_token_j": 0.2, "peak_memory_bytes": 2e8}
        store.set_measurements(
            run.id, [Measurement(figure=name, value=value, n=24, provenance=about) for name, value in figures.items()]
        )
        store.finish_run(run.id, RunState.DONE, disturbed=run.spec.repeat == 2, disturbances=[f"{HOSTILE} was busy"])
    return study
