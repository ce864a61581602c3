"""A study with everything that an archive can hold, and archives taken apart and put together again."""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile

from tests.factory import HOST, MEASURED, SMOL, fill_store
from trilemma.archive.format import MANIFEST, MEMBERS
from trilemma.records import Choice, PhaseWindow, Vote
from trilemma.schema import Measurement, Phase, RunState
from trilemma.store import Store


def measured(store: Store) -> str:
    """A study with everything that an archive can hold: its id."""
    study = fill_store(store, [(SMOL, "F16"), (SMOL, "Q4_K_M")], seed=7)
    first = next(run for run in store.runs(study.id) if run.state is RunState.DONE)
    store.add_rerun(first.id)
    again = store.claim_next("test")
    assert again is not None
    store.start_run(again.id, HOST)
    store.add_phase(again.id, PhaseWindow(phase=Phase.LOAD, start_ns=5))
    store.set_measurements(again.id, [Measurement(figure="load_s", value=math.inf, n=1, provenance=MEASURED)])
    store.finish_run(again.id, RunState.FAILED, reason="<b>bad</b> luck", log_tail="the end")
    store.add_vote(
        study.id,
        Vote(source="", prompt="p", a_id="a", b_id="b", a_answer="1", b_answer="2", choice=Choice.TIE, asked={"n": 1}),
    )
    return study.id


def members(file: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(file)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(content: dict[str, bytes], *, resign: bool = True, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A file of these members; with ``resign`` its manifest says what they are."""
    if resign and MANIFEST in content:
        manifest = json.loads(content[MANIFEST])
        manifest["members"] = {
            name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
            for name, data in content.items() if name in MEMBERS
        }  # fmt: skip
        content = content | {MANIFEST: json.dumps(manifest).encode()}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return file.getvalue()
