"""The report: self-contained, the same every time, harmless, and true to the store."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.factory import DEMO, HOST, SMOL, artifact, fill_store, points_of
from tests.report.made import FOLDER, SECRET, Page, hostile_study
from trilemma.analysis.draws import draw
from trilemma.analysis.recommendation import Priorities, recommend
from trilemma.analysis.scoring import ScoringMethod
from trilemma.errors import NotFoundError, ReportError, TrilemmaError
from trilemma.figures import FIGURES
from trilemma.planning.demand import Demand
from trilemma.planning.details import assumption_rows
from trilemma.planning.limits import Latency
from trilemma.planning.plan import default_assumptions, make_plan, with_sources
from trilemma.planning.tables import load_tables
from trilemma.planning.words import notes, summary
from trilemma.records import Choice, Vote
from trilemma.report import PlanView, View, html_report
from trilemma.report.document import html_json
from trilemma.report.gather import gather
from trilemma.schema import Axis, Configuration, Measurement, Method, Provenance, RunSpec, RunState, StudySpec
from trilemma.store import Store

# Attributes by which a page asks for something else.
ASKING = (
    "src",
    "srcset",
    "href",
    "action",
    "formaction",
    "data",
    "poster",
    "background",
    "ping",
    "manifest",
    "xlink:href",
)


def test_nothing_in_it_asks_for_anything_outside(store: Store) -> None:
    page = Page(html_report(store, fill_store(store).id))
    asked = [(tag, name, value) for tag, found in page.elements for name, value in found.items() if name in ASKING]
    assert [one for one in asked if not (one[2] or "").startswith("#")] == []
    assert {tag for tag, _ in page.elements} & {"link", "iframe", "object", "embed", "base", "form", "img"} == set()
    style = html_report(store, store.studies()[0].id).decode().partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style


def test_the_policy_allows_its_own_scripts_and_no_other(store: Store) -> None:
    page = Page(html_report(store, fill_store(store, DEMO[:2], 1, detail=False).id))
    policy = next(
        found["content"] for tag, found in page.elements if found.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert "connect-src" not in rules, "what is not named falls back to none"
    run = [text for attributes, text in page.scripts if "type" not in attributes]
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in run]
    assert rules["script-src"].split() == hashes
    assert len(run) == 2


def test_two_processes_write_the_same_bytes(store: Store) -> None:
    study = fill_store(store)
    ids = [one.id for one in study.spec.configurations]
    for number in range(30):
        store.add_vote(study.id, vote(ids[number % 4], ids[4 + number % 3], [*Choice][number % 4]))
    code = (
        "import sys\n"
        "from trilemma.store import open_store\n"
        "from trilemma.report import PlanView, View, html_report\n"
        "with open_store() as store:\n"
        "    sys.stdout.buffer.write(html_report(store, sys.argv[1], View(limits=sys.argv[2:], plan=PlanView())))"
    )
    limits = ("peak_memory_bytes <= 300 MiB",)
    # The dashboard has imported Streamlit, which changes defaults of plotly.
    ways = (("", "1", "UTC", "C.UTF-8"), ("import streamlit.elements.plotly_chart\n", "2", "Asia/Tokyo", "de_DE.UTF-8"))
    written = [
        subprocess.run(
            [sys.executable, "-c", before + code, study.id, *limits], capture_output=True, check=True,
            env=os.environ | {"PYTHONHASHSEED": seed, "TZ": zone, "LANG": language},
        ).stdout
        for before, seed, zone, language in ways
    ]  # fmt: skip
    assert written[0] == written[1]
    assert written[0] == html_report(store, study.id, View(limits=limits, plan=PlanView()))
    assert b"Preferred to an average one" in written[0]
    assert b"Before you rely on it" in written[0] and b"Replicas through the day" in written[0]
    assert written[0] != html_report(store, study.id)


def test_hostile_texts_are_texts(store: Store) -> None:
    study = hostile_study(store)
    html = html_report(store, study.id)
    page = Page(html)
    assert [tag for tag, _ in page.elements if tag in ("img", "b")] == []
    assert not any(name.startswith("on") for _, found in page.elements for name in found)
    seen = "</script><img src=x onerror=alert(1)> <b>&amp;"
    assert page.text.count(seen) >= 5, "as name of study and model, of the processor, as reason and disturbance"
    assert len(page.scripts) == 4
    figures = page.data("trilemma-figures")
    assert figures["study"]["spec"]["name"] == seen
    charts = page.data("trilemma-charts")
    drawn = json.dumps(charts[0]["light"])
    assert "<img" not in drawn, "plotly.js reads a subset of HTML"
    assert "&lt;img" in drawn
    for text in (text for attributes, text in page.scripts if attributes.get("type")):
        assert "<" not in text
        assert "\u2028" not in text


def test_no_folder_and_no_key_leaves_the_machine(store: Store) -> None:
    html = html_report(store, hostile_study(store).id).decode()
    for private in (FOLDER, "/home", "ada lovelace", SECRET, "secret model.gguf with Authorization: Bearer hf_"):
        assert private not in html
    assert "…/secret model.gguf" in html
    assert "…/libllama.so" in html


def test_the_figures_inside_are_those_of_the_store(store: Store) -> None:
    study = fill_store(store)
    figures = Page(html_report(store, study.id)).data("trilemma-figures")
    stored = {(run.id, m.key): m for run in store.runs(study.id) for m in store.measurements(run.id)}
    columns = figures["measurements"]["columns"]
    rows = [dict(zip(columns, row, strict=True)) for row in figures["measurements"]["rows"]]
    assert {(row["run_id"], row["key"]) for row in rows} == set(stored)
    for row in rows:
        kept = stored[row["run_id"], row["key"]]
        assert (row["value"], row["low"], row["high"], row["n"]) == (kept.value, kept.low, kept.high, kept.n)
        assert (row["method"], row["valid"]) == (kept.provenance.method.value, kept.provenance.valid)
    assert len(figures["configurations"]["rows"]) == len(DEMO)
    assert {run["id"] for run in figures["runs"]} == {run.id for run in store.runs(study.id)}


def test_it_says_what_was_measured_how_and_what_figures_mean(store: Store) -> None:
    study = fill_store(store)
    page = Page(html_report(store, study.id, View(question="Which one for the phone?", preset="Phone")))
    for words in (
        "Which one for the phone?", "Phone", "AMD EPYC 7B13", "llama-cpp-python", "3.13.5", "hellaswag (100 items",
        "Workloads: short chat (prompts of 128 tokens", "modelled, not measured", "95 %", "interleaved", SMOL,
        "Definition",
    ):  # fmt: skip
        assert words in page.text, words
    used = {m.figure for run in store.runs(study.id) for m in store.measurements(run.id) if m.value is not None}
    folded = {name: " ".join(FIGURES[name].definition.split()) for name in used}
    assert [name for name, text in folded.items() if text not in page.text] == []
    newest = max(run.finished_at for run in store.runs(study.id) if run.finished_at)
    assert f"Measured {newest:%Y-%m-%d}" in page.text


def test_every_configuration_is_in_the_table_with_its_standing(store: Store) -> None:
    study = fill_store(store)
    page = Page(html_report(store, study.id))
    for model, quantization in DEMO:
        assert f"{model} {quantization}" in page.text
    front = page.data("trilemma-figures")["front"]
    assert len(front) == len(DEMO)
    assert {one["standing"] for one in front.values()} <= {"certain", "contested", "dominated"}
    certain = sum(one["standing"] == "certain" for one in front.values())
    assert f"Of 9 configurations, {certain} on the front for certain" in page.text
    for one in front.values():
        assert (one["probability"] >= 0.95) == (one["standing"] == "certain")
    assert "100 %" not in page.text, "no draw tells that"


def test_charts_come_light_and_dark_with_words_and_rows(store: Store) -> None:
    charts = Page(html_report(store, fill_store(store).id)).data("trilemma-charts")
    assert [chart["file"] for chart in charts] == [
        f"trilemma-demo-{name}" for name in ("front", "front-2", "decision-map")
    ]
    for chart in charts:
        assert chart["light"]["layout"]["paper_bgcolor"] != chart["dark"]["layout"]["paper_bgcolor"]
        assert len(chart["light"]["data"]) == len(chart["dark"]["data"]) > 3
        assert all(len(row) == len(chart["columns"]) for row in chart["rows"])
    for chart in charts[:2]:
        assert "configurations are on the front" in chart["alt"]
        assert len(chart["rows"]) == len(DEMO)
    assert charts[2]["alt"].startswith("Decision map.")


def test_the_recommendation_is_the_one_that_decide_gives(store: Store) -> None:
    study = fill_store(store)
    view = View(
        limits=("peak_memory_bytes <= 300 MiB", "ttft_s.p95@long_document <= 1 s"), method=ScoringMethod.WEIGHTED_SUM,
        weights={Axis.EFFICIENCY: 1, Axis.SPEED: 1, Axis.PERFORMANCE: 2},
        axes={Axis.EFFICIENCY: ("peak_memory_bytes",)},
    )  # fmt: skip
    found = gather(store, study.id, view)
    assert found.decision is not None
    assert found.unmeasured == ("ttft_s.p95@long_document <= 1 s",)
    axes = found.by_axis
    keys = tuple(sorted({*axes.values(), "peak_memory_bytes"}))
    points = points_of(store, *keys)
    asked = Priorities(axes, dict(zip(Axis, (0.25, 0.25, 0.5), strict=True)), ScoringMethod.WEIGHTED_SUM)
    wanted = recommend(
        draw(points, keys, found.items), asked, limits=found.limits, unmeasured=found.unmeasured
    )  # fmt: skip
    assert found.decision.told == wanted
    text = text_of(store, study.id, view)
    assert [sentence for sentence in wanted.sentences if sentence not in text] == []
    assert "Limits peak memory ≤ 300 MiB; ttft_s.p95@long_document <= 1 s (not checked)" in text
    assert "efficiency 25 %, speed 25 %, performance 50 %" in text
    assert "Who wins under which priorities" in text


def test_without_an_axis_there_is_no_recommendation_and_the_rest_stands(store: Store) -> None:
    text = text_of(store, hostile_study(store).id)
    assert "The recommendation" not in text
    assert "All configurations" in text


def test_the_plan_says_all_that_it_rests_on(store: Store) -> None:
    study = fill_store(store, DEMO[:3], 2)
    one = study.spec.configurations[2].id
    start = default_assumptions(load_tables(), Demand(requests_per_day=54_321, growth=0.05, months=7))
    assert start.cloud is not None
    entered = with_sources(
        start.model_copy(update={"cloud": start.cloud.model_copy(update={"per_hour": 0.77})}), load_tables(),
        {"grid": "france-2023"},
    )  # fmt: skip
    page = Page(html_report(store, study.id, View(plan=PlanView(configuration=one, assumptions=entered))))
    plan = page.text.partition("The plan")[2]
    material = gather(store, study.id, View(plan=PlanView(configuration=one, assumptions=entered)))
    assert material.to_plan is not None and material.to_plan.found is not None
    made = make_plan(material.to_plan.found, entered)
    folded = [" ".join(text.split()) for text in (*notes(made, "AMD EPYC 7B13, 2 cores"), *summary(made))]
    assert [text for text in folded if text not in plan] == []
    for name, text in assumption_rows(made):
        assert name in plan and text in plan, name
    assert "54,321" in plan and "+5 % a month, 7 months ahead" in plan
    assert "0.77 USD an hour" in plan and "entered" in plan
    for stated in entered.stated:
        assert stated.amount in plan and stated.source in plan and stated.date in plan
    assert [chart["file"] for chart in page.data("trilemma-charts")][-2:] == [
        "trilemma-demo-cost", "trilemma-demo-replicas",
    ]  # fmt: skip
    assert page.data("trilemma-figures")["view"]["plan"]["assumptions"]["demand"]["months"] == 7


def test_what_cannot_be_planned_is_said_in_a_sentence(store: Store) -> None:
    study = fill_store(store, DEMO[:2], 1)
    none = View(limits=("peak_memory_bytes <= 1 KiB",), plan=PlanView())
    assert "Nothing is recommended, so there is nothing to plan with" in text_of(store, study.id, none)
    tight = default_assumptions(load_tables()).model_copy(update={"latency": Latency(e2e_p95_s=0.001)})
    assert "No number of replicas keeps" in text_of(store, study.id, View(plan=PlanView(assumptions=tight)))


def test_where_nothing_keeps_the_limits_that_is_said(store: Store) -> None:
    text = text_of(store, fill_store(store).id, View(limits=("peak_memory_bytes <= 1 KiB",)))
    assert "No configuration keeps all limits" in text


def test_limits_leave_out_of_the_picture_and_not_of_the_table(store: Store) -> None:
    study = fill_store(store)
    page = Page(html_report(store, study.id, View(limits=("peak_memory_bytes <= 300 MiB",), models=(SMOL,))))
    shown = page.data("trilemma-figures")["front"]
    assert 0 < len(shown) < 6
    assert f"{9 - len(shown)} configurations do not pass" in page.text
    assert "gemma-3-270m-it Q2_K" in page.text
    assert page.text.count("not drawn") >= 9 - len(shown)


def test_nothing_that_passes_is_said_and_not_an_error(store: Store) -> None:
    study = fill_store(store, DEMO[:2], 1, detail=False)
    page = Page(html_report(store, study.id, View(limits=("peak_memory_bytes <= 1 KiB",))))
    assert "No configuration that passes has all of the chosen figures" in page.text


def test_runs_that_failed_or_were_disturbed_say_why(store: Store) -> None:
    page = Page(html_report(store, hostile_study(store).id))
    assert "2 of 3. A disturbed run counts only where" in page.text.replace(" runs of", " of")
    assert "cannot open …/secret model.gguf" in page.text
    assert "was busy" in page.text
    assert "Runs that were disturbed" not in Page(html_report(store, fill_store(store, DEMO[:1], 1).id)).text


def test_a_study_without_a_finished_run_has_no_report(store: Store) -> None:
    item = store.add_artifact(artifact("tiny", "Q8_0"))
    configuration = Configuration(artifact_id=item.id, engine="llama.cpp")
    spec = StudySpec(name="waits", configurations=(configuration,))
    study = store.add_study(spec, [RunSpec(configuration=configuration)])
    with pytest.raises(ReportError, match="no finished run"):
        html_report(store, study.id)


def test_what_cannot_be_reported_says_why(store: Store) -> None:
    study = fill_store(store, DEMO[:2], 1, detail=False)
    with pytest.raises(NotFoundError):
        html_report(store, "no such study")
    with pytest.raises(TrilemmaError, match="beauty"):
        html_report(store, study.id, View(x="beauty"))
    with pytest.raises(TrilemmaError, match="not a limit"):
        html_report(store, study.id, View(limits=("small please",)))


def test_figures_of_an_earlier_definition_are_told(store: Store) -> None:
    item = store.add_artifact(artifact("tiny", "Q8_0"))
    configuration = Configuration(artifact_id=item.id, engine="llama.cpp")
    runs = [RunSpec(configuration=configuration, repeat=repeat) for repeat in range(2)]
    study = store.add_study(StudySpec(name="old", configurations=(configuration,)), runs)
    for version in (1, 0):
        run = store.claim_next("test")
        assert run is not None
        store.start_run(run.id, HOST)
        about = Provenance(method=Method.MEASURED, source="clock")
        found = [
            Measurement(figure="load_s", value=1.0 + version, n=1, provenance=about, definition_version=version),
            Measurement(figure="decode_tps", value=90.0 + version, n=9, provenance=about),
        ]
        store.set_measurements(run.id, found)
        store.finish_run(run.id, RunState.DONE)
        told = "Stored under an earlier definition than the one given below: Time to load." in text_of(store, study.id)
        assert told == (version == 0)


def vote(a_id: str, b_id: str, choice: Choice, **more: str) -> Vote:
    values = {"source": "piqa", "prompt": "zqprompt", "a_answer": "zqanswer", "b_answer": "zqother", "voter": "zqvoter"}
    return Vote(a_id=a_id, b_id=b_id, choice=choice, **(values | more))


def test_votes_are_counted_and_nothing_of_what_was_read_is_told(store: Store) -> None:
    study = fill_store(store, DEMO[:3], 1, detail=False)
    first, second, third = (one.id for one in study.spec.configurations)
    cast = [vote(first, second, Choice.A)] * 14 + [vote(second, first, Choice.A, source="", voter="")]
    cast += [vote(second, third, Choice.TIE), vote(third, first, Choice.BAD), vote(first, "zqstranger", Choice.A)]
    for one in cast:
        store.add_vote(study.id, one)
    # What a view leaves out of the picture was voted on nevertheless.
    html = html_report(store, study.id, View(limits=("peak_memory_bytes <= 1 KiB",)))
    page = Page(html)
    told = page.text.partition("What people preferred After")[2].partition("How it was measured")[0]
    assert told.startswith(" 17 votes: ")
    assert " is preferred to " in told
    assert "16 on answers of the study's suites and 1 on prompts of the voters' own. 1 voter gave a name." in told
    found = page.data("trilemma-figures")["votes"]
    pair = next(pair for pair in found["pairs"] if {pair["one"], pair["other"]} == {first, second})
    counts = (pair["won"], pair["lost"], pair["ties"], pair["bad"])
    assert counts == ((14, 1, 0, 0) if pair["one"] == first else (1, 14, 0, 0))
    interval = stats.binomtest(pair["won"], 15).proportion_ci(method="wilson")
    assert (pair["low"], pair["high"]) == pytest.approx((interval.low, interval.high))
    assert f"{pair['share']:.2f} {pair['low']:.2f} to {pair['high']:.2f}" in told
    assert set(found["strengths"]) == {first, second, third}
    for strength in found["strengths"].values():
        assert f"{strength['value']:.2f} {strength['low']:.2f} to {strength['high']:.2f} {strength['votes']}" in told
    for private in (b"zqprompt", b"zqanswer", b"zqother", b"zqvoter", b"zqstranger"):
        assert private not in html


def test_of_two_there_is_no_strength_beside_the_share_and_without_votes_no_section(store: Store) -> None:
    study = fill_store(store, DEMO[:2], 1, detail=False)
    page = Page(html_report(store, study.id))
    assert "What people preferred" not in page.text
    assert "votes" not in page.data("trilemma-figures")
    store.add_vote(study.id, vote(*(one.id for one in study.spec.configurations), Choice.A))
    text = text_of(store, study.id)
    assert "After 1 vote no preference can be told from luck." in text
    assert "Preferred to an average one" not in text


def text_of(store: Store, study_id: str, view: View | None = None) -> str:
    return Page(html_report(store, study_id, view)).text


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(), inside, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_json_in_a_script_is_read_back_and_cannot_leave_it(value: object) -> None:
    text = html_json(value)
    assert json.loads(text) == value
    assert not re.search("[<>&\u2028\u2029]", text)
    assert text.isascii()
