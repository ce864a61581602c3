"""Makes the sample study's file out of a store: ``trilemma sample pack STUDY FILE``.

Results go in, weights do not. Questions and expected answers belong to their authors and are left out; what the model
chose or wrote, its scores and the items' ids stay. Of the machine, its kind stays; names, folders and logs do not.
"""

from __future__ import annotations

import getpass
import re
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import JsonValue

from trilemma.errors import StoreError
from trilemma.records import SAMPLE, AnswerRecord, HostInfo, RequestRecord, RunRecord, StudyRecord, WholeRun, WholeStudy
from trilemma.sample.words import NO_LOG, WITHHELD, study_name
from trilemma.schema import Artifact, StudySpec
from trilemma.store import Store

_FOLDER = re.compile(r"(?<![\w.:/])/(?:home|root|work|tmp|usr|var|opt|mnt|srv|etc|private|Users)/[\w.]|\b[A-Z]:\\\\\w")
_KEPT_DETAIL = {
    "logprobs", "lengths", "tokens", "context_tokens", "truncated_tokens", "chosen_index", "chosen_norm_index",
    "source", "reused", "nll_sum", "context", "kl_sum", "agreed", "positions", "reference", "calls", "tool_calls",
    "malformed_calls", "cut", "requests", "steps", "output_tokens", "seconds", "energy_j", "energy_method",
}  # fmt: skip
"""What an answer's detail may hold that is neither the question nor what was expected."""


def whole_study(store: Store, study_id: str) -> WholeStudy:
    """The finished runs of a study with all that they recorded, as it may be given away.

    Raises:
        NotFoundError: there is no such study.
        StoreError: none of its runs is done, or something in it names this machine.
    """
    study = store.study(study_id)
    runs = [run for run in store.runs(study_id) if run.state.verdict and run.host and run.finished_at]
    if not runs:
        raise StoreError(f"No run of {study.spec.name!r} is done.", "Measure it first.")
    ids = {run.id: f"{SAMPLE}-{number:02d}" for number, run in enumerate(runs, 1)}
    spoken = _spoken(study.spec)
    artifacts = {run.spec.configuration.artifact_id for run in runs}
    artifacts |= {run.spec.reference_id for run in runs if run.spec.reference_id}
    whole = WholeStudy(
        study=_study(study, runs),
        artifacts=tuple(_artifact(store.artifact(one)) for one in sorted(artifacts)),
        runs=tuple(
            WholeRun(
                run=_run(run, ids),
                phases=tuple(store.phases(run.id)),
                samples=tuple(store.samples(run.id)),
                requests=tuple(_request(one, spoken) for one in store.requests(run.id)),
                answers=tuple(map(_answer, store.answers(run.id))),
                measurements=tuple(store.measurements(run.id)),
            )
            for run in runs
        ),
    )
    refuse_names(whole.model_dump_json(), _names_of_this_machine())
    return whole


def refuse_names(text: str, names: Sequence[str]) -> None:
    """Refuse JSON text that holds a folder or one of ``names``.

    Raises:
        StoreError: it does.
    """
    found = next((text[max(0, text.index(name) - 60) :][:160] for name in names if name in text), None)
    if match := _FOLDER.search(text):
        found = text[max(0, match.start() - 60) :][:160]
    if found is not None:
        raise StoreError(f"The study names this machine: {found!r}.", "Leave that out in trilemma/sample/pack.py.")


def _names_of_this_machine() -> list[str]:
    names = [socket.gethostname(), getpass.getuser(), str(Path.home()), str(Path.cwd())]
    # Names as short or as common as these are words of any text.
    return [name for name in names if len(name) > 4 and name != "localhost"]


def _study(study: StudyRecord, runs: Sequence[RunRecord]) -> StudyRecord:
    last = max(runs, key=lambda run: (run.finished_at, run.id))
    if last.host is None or last.finished_at is None:
        raise StoreError("A run without its machine or its end cannot be packed.")
    spec = study.spec.model_copy(update={"name": study_name(last.host, last.finished_at), "rerun_disturbed": False})
    return StudyRecord(id=SAMPLE, spec=spec, created_at=study.created_at)


def _artifact(artifact: Artifact) -> Artifact:
    """Without its file, which stays here, and its chat template, which is its authors'."""
    return artifact.model_copy(update={"path": "", "chat_template": None})


def _run(run: RunRecord, ids: Mapping[str, str]) -> RunRecord:
    host = run.host and HostInfo.model_validate(run.host.model_dump() | {"id": SAMPLE})
    changes = {
        "id": ids[run.id],
        "study_ids": (SAMPLE,),
        "spec": run.spec.model_copy(update={"device": SAMPLE}),
        "rerun_of": ids.get(run.rerun_of or ""),
        "created_by": None,
        "host": host,
        "log_tail": NO_LOG if run.log_tail else "",
        "engine_info": {name: value for name, value in run.engine_info.items() if not _FOLDER.search(str(value))},
    }
    return run.model_copy(update=changes)


def _spoken(spec: StudySpec) -> set[str]:
    """The subjects of requests whose prompts are this tool's own texts."""
    return {level.subject for workload in spec.workloads if workload.trace is None for level in workload.levels()}


def _request(request: RequestRecord, spoken: set[str]) -> RequestRecord:
    if request.workload in spoken or not request.prompt:
        return request
    return request.model_copy(update={"prompt": WITHHELD})


def _answer(answer: AnswerRecord) -> AnswerRecord:
    detail: dict[str, JsonValue] = {name: answer.detail[name] for name in answer.detail if name in _KEPT_DETAIL}
    choices, chosen = answer.detail.get("choices"), answer.detail.get("chosen_index")
    text = answer.answer
    if isinstance(choices, list):
        names = [f"choice {number}" for number in range(1, len(choices) + 1)]
        detail["choices"] = list(names)
        text = names[chosen] if isinstance(chosen, int) and 0 <= chosen < len(names) else WITHHELD
    elif text and "requests" not in answer.detail:  # not written by the model: one of the question's own texts
        text = WITHHELD
    return answer.model_copy(
        update={
            "prompt": answer.prompt and WITHHELD,
            "expected": answer.expected and WITHHELD,
            "answer": text,
            "detail": detail,
        }
    )
