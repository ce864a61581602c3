"""Every page, visited with hostile parameters, over a store in which every name is hostile."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

import streamlit as st
from hypothesis import strategies
from streamlit.testing.v1 import AppTest

from pages import shared
from pages.parts.runs import PAGE_SIZE
from tests.catalog.gguf_files import tiny
from tests.factory import DEMO, WORKLOAD, artifact, fill_store
from tests.fuzz.bound import bound
from tests.fuzz.inputs import MARKUP, whole_texts
from tests.fuzz.parameters import _amounts, _limits, data_folder
from tests.fuzz.surface import Surface, put
from tests.report.made import hostile_study
from trilemma import registry
from trilemma.catalog.catalog import Catalog
from trilemma.records import AnswerRecord, AuditRecord, Machine, Outcome
from trilemma.schema import Configuration, RunSpec, RunState, StudySpec
from trilemma.settings import get_settings
from trilemma.store import Store, open_store
from trilemma.suites.custom import file as questions

LINKS = "<script>alert(1)</script> ![x](http://evil.example/x.png) [y](javascript:alert(1)) \x1b[31m\u202e"
PAGES = (*shared.PAGES, shared.AUDIT)
"""Every page of the navigation."""


@functools.cache
def hostile_store() -> tuple[str, ...]:
    """Fill a data folder; the ids and keys that links to it may name."""
    data_folder()
    st.cache_resource.clear()
    with open_store(get_settings().database_url) as store:
        return _filled(store)


def _filled(store: Store) -> tuple[str, ...]:
    study = fill_store(store, [*DEMO[:2], (LINKS, "Q8_0"), ("=1+1", "<b>")], 2, name=LINKS)
    hostile_study(store)
    item = artifact(LINKS, "F16")
    store.add_artifact(item)
    configuration = Configuration(artifact_id=item.id, engine="llama.cpp", settings={"x": LINKS})
    spec = StudySpec(name=MARKUP[0], configurations=(configuration,), workloads=(WORKLOAD,))
    store.add_study(spec, [RunSpec(configuration=configuration, workloads=(WORKLOAD,), repeat=7)])
    longer = Configuration(artifact_id=item.id, engine="llama.cpp", settings={"x": "page"})
    runs = [RunSpec(configuration=longer, workloads=(WORKLOAD,), repeat=number) for number in range(PAGE_SIZE + 1)]
    store.add_study(StudySpec(name=MARKUP[1], configurations=(longer,), workloads=(WORKLOAD,)), runs)
    run = store.claim_next("fuzz")
    assert run is not None
    adapter = artifact(f"{LINKS} adapter", "F16").model_copy(update={"kind": "adapter", "adapter_rank": 8})
    store.add_artifact(adapter)
    questions.add(get_settings().questions_dir, f"question,answer\n{LINKS},{LINKS}\n".encode())
    for outcome in Outcome:
        store.add_audit(AuditRecord(who=LINKS, role=LINKS, action=LINKS, subject=LINKS, outcome=outcome, detail=LINKS))
    record = AnswerRecord(
        suite=LINKS, item_id=LINKS, index=0, prompt=LINKS, answer=LINKS, expected=LINKS, scores={"accuracy": 0.0}
    )
    store.add_answers(run.id, [record])
    store.see_machines([Machine(name="edge", gpus=1, gpu_type=LINKS), Machine(name=LINKS, gpu_type=MARKUP[0])])
    store.see_machines([Machine(name="edge", gpus=1, gpu_type=LINKS)])
    store.finish_run(run.id, RunState.FAILED, reason=LINKS, log_tail=LINKS)
    configurations = [one.id for one in study.spec.configurations]
    return (
        study.id,
        run.id,
        *(one.id for one in store.runs()),
        *configurations,
        *store.figure_keys(),
        *store.models(),
        item.id[:12],
        adapter.id,
    )


def _app(page: str) -> AppTest:
    def script(name: str) -> None:
        import importlib

        from pages import shared

        with shared.errors_shown():
            importlib.import_module(f"pages.{name}").page()

    return AppTest.from_function(script, args=(page,), default_timeout=600)


_WORDS = ("1", "0", "true", "Load", "3D", "Pairs", "Parallel", "2D", "answers", "waiting", "traces", "vote", "tryout",
"figures", "2", "99", "edge",
          "endpoint", "vLLM", "Folder", "Endpoint", "Q4_K_M", "office hours", "hours of your own", "chat-assistant",
          "topsis", "cloud")  # fmt: skip


@functools.cache
def names(page: str) -> dict[str, dict[str, str]]:
    """What ``page`` reads out of its address; see :func:`tests.fuzz.bound.bound`."""
    hostile_store()

    def visit(given: Mapping[str, str]) -> None:
        app = _app(page)
        app.query_params.update(given)
        app.run()
        assert not app.exception, [f"{one.message}\n{one.stack_trace}" for one in app.exception]

    choices: list[dict[str, str]] = [
        {"arrival": "Requests come at a rate"},
        {"from": _weights()[:12]},
        *({"engine": name} for name in registry.names("trilemma.engines")),
    ]
    return bound(visit, choices)


@functools.cache
def _weights() -> str:
    """The id of weights that are really there, from which others can be made."""
    with open_store(get_settings().database_url) as store:
        return Catalog(store, get_settings()).add_path(put("tiny.gguf", tiny(name=LINKS))).id


@strategies.composite
def _visit(draw: strategies.DrawFn, page: str) -> dict[str, list[str]]:
    known = strategies.deferred(lambda: strategies.sampled_from(hostile_store()))
    values = strategies.one_of(known, known, strategies.sampled_from(_WORDS), whole_texts, _amounts, _limits)
    sent = strategies.lists(values.map(lambda text: text.encode("utf-8", "replace").decode()), min_size=1, max_size=3)
    read = names(page)
    some = strategies.sampled_from(sorted(read)) if read else strategies.just("id")  # also where nothing is read
    given = draw(strategies.dictionaries(some, sent, max_size=7))
    # What a field is behind is opened for it, unless that was given something else.
    opened = {opener: [text] for name in given for opener, text in read.get(name, {}).items()}
    return opened | given


_EXAMPLES: dict[str, tuple[dict[str, list[str]], ...]] = {
    "new_study": (
        {"q_hellaswag": ["true"], "o_hellaswag_shots": ["Infinity"], "q_hellaswag_n": ["inf"], "repeats": ["NaN"],
         "w_core": ["1e999"], "w_short_chat": ["true"], "w_short_chat_n": ["-inf"], "w_short_chat_pause": ["inf"]},
    ),
    "queue": ({"page": ["1", "Infinity"]},),
}  # fmt: skip
_MARKED = re.compile(r"(?<!\\)(?:<(?:script|img|svg|b>)|!\[|\]\(|:red\[x\])")
_TEXTS = ("markdown", "caption", "title", "header", "subheader", "error", "warning", "info", "success")


def _visited(case: tuple[str, dict[str, list[str]]]) -> None:
    page, given = case
    app = _app(page)
    for name, values in given.items():
        app.query_params[name] = values
    app.run()
    assert not app.exception, [f"{one.message}\n{one.stack_trace}" for one in app.exception]
    for kind in _TEXTS:
        for element in app.get(kind):
            text = str(getattr(element, "value", ""))
            assert not _MARKED.search(_ours(text)), text
            assert "\u202e" not in text, text
            assert "\x1b" not in text, text


def _ours(text: str) -> str:
    """``text`` without the links that pages themselves make."""
    return re.sub(r"\]\((?:https?://[\w./-]+|#[\w-]+)\)", "", text) if "](http" in text and "evil" not in text else text


def _surface(page: str) -> Surface:
    def visited(given: dict[str, list[str]]) -> None:
        _visited((page, given))

    none: dict[str, Any] = {}
    # New study reads two hundred names, others a few dozen at most.
    few, share = 2, 0.3 if page == "new_study" else 0.02 if page in ("run", "queue", "models", "audit") else 0.03
    return Surface(
        f"Page {page}",
        _visit(page),
        visited,
        examples=(none, *_EXAMPLES.get(page, ())),
        few=few,
        share=share,
        watched=False,
        prepare=lambda: names(page),
    )


SURFACES = tuple(map(_surface, PAGES))
