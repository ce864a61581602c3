"""Tasks of lm-evaluation-harness: names and figures anywhere; asking them where the harness is installed."""

from __future__ import annotations

import json
import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from trilemma.engines.base import ChoiceRequest, GenerationRequest, LoadedModel
from trilemma.errors import StudyError
from trilemma.records import AnswerRecord
from trilemma.schema import SuiteSpec
from trilemma.suites import data
from trilemma.suites.base import SuiteContext
from trilemma.suites.distributions import negative_log_likelihoods
from trilemma.suites.encoding import encode_pair
from trilemma.suites.harness import LmEval
from trilemma.suites.harness.results import figure_names, json_value, measurements

HERE = find_spec("lm_eval") is not None
needs_harness = [
    pytest.mark.lm_eval,
    pytest.mark.llama,
    pytest.mark.skipif(not HERE, reason="lm-evaluation-harness is not installed: pip install 'trilemma[lm-eval]'"),
    # Libraries that only the harness brings along.
    pytest.mark.filterwarnings("default"),
]


def test_accuracies_get_our_names_and_other_metrics_keep_theirs() -> None:
    assert figure_names([("acc", "none"), ("acc_norm", "none"), ("exact_match", "none")]) == {
        ("acc", "none"): "accuracy",
        ("acc_norm", "none"): "accuracy_norm",
        ("exact_match", "none"): "exact_match",
    }
    strict, loose = ("exact_match", "strict-match"), ("exact_match", "flexible-extract")
    assert figure_names([strict, loose]) == {strict: "accuracy_strict", loose: "accuracy"}
    assert figure_names([strict]) == {strict: "accuracy"}
    assert figure_names([("pass@1", "none")]) == {("pass@1", "none"): "pass at 1"}


def test_means_have_intervals_and_totals_have_none() -> None:
    answers = [
        AnswerRecord(
            suite="lm_eval",
            item_id=f"t/{index}",
            index=index,
            prompt="",
            answer="",
            scores={"accuracy": float(index < 3), "rouge": index / 4},
            detail={"task": "t", "totals": {"word_perplexity": 12.5}, "less_is_better": ["word_perplexity"]},
        )
        for index in range(4)
    ]
    found = {measurement.key: measurement for measurement in measurements(answers, "lm_eval t", ())}
    assert list(found) == [
        "accuracy@lm_eval t",
        "score.rouge@lm_eval t",
        "score_less_is_better.word_perplexity@lm_eval t",
    ]
    assert found["accuracy@lm_eval t"].value == 0.75
    assert found["accuracy@lm_eval t"].low == pytest.approx(0.3006, abs=1e-4)  # Wilson for 3 of 4
    assert found["score.rouge@lm_eval t"].value == pytest.approx(0.375)
    total = found["score_less_is_better.word_perplexity@lm_eval t"]
    assert (total.value, total.low, total.n) == (12.5, None, 4)


def test_what_a_task_s_program_returns_is_bounded() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert len(json.dumps(json_value(["x" * 10**6, math.nan, endless, {1: {2, 3}}]))) < 30_000


def test_a_task_has_to_be_named() -> None:
    with pytest.raises(StudyError, match="task"):
        LmEval().measurements([], SuiteSpec(name="lm_eval"))
    assert LmEval().availability().available is HERE


CHOICES = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{validation: "{rows}"}}}}
output_type: multiple_choice
validation_split: validation
doc_to_text: "{{{{question}}}}"
doc_to_choice: choices
doc_to_target: label
metric_list: [{{metric: acc}}, {{metric: acc_norm}}]
metadata: {{version: 7}}
"""
WRITTEN = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{validation: "{rows}"}}}}
output_type: generate_until
validation_split: validation
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{choices[label]}}}}"
generation_kwargs: {{until: [".", "\\n"], max_gen_toks: 8}}
metric_list: [{{metric: exact_match, ignore_case: true}}]
"""
RUNNING_TEXT = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{validation: "{rows}"}}}}
output_type: loglikelihood_rolling
validation_split: validation
doc_to_text: ""
doc_to_target: "{{{{question}}}}"
metric_list: [{{metric: word_perplexity}}]
"""
ROWS = [
    {"question": f"The capital of {country} is", "choices": list(choices), "label": label}
    for country, choices, label in (
        ("France", ("Rome", "Paris"), 1),
        ("Italy", ("Rome", "Paris"), 0),
        ("Spain", ("Madrid", "a river in the north"), 0),
        ("Japan", ("Seoul", "Tokyo"), 1),
        ("Egypt", ("Cairo", "Lima"), 0),
        ("Peru", ("Cairo", "Lima"), 1),
    )
]


@pytest.fixture
def folder(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own tasks, over one file of rows."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    own = home / "lm_eval_tasks"
    own.mkdir()
    rows = own / "rows.jsonl"
    rows.write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    made = {"our_choices": CHOICES, "our_written": WRITTEN, "our_text": RUNNING_TEXT}
    for name, text in made.items():
        (own / f"{name}.yaml").write_text(text.format(name=name, rows=rows))
    unsafe = CHOICES.format(name="our_unsafe", rows=rows) + "unsafe_code: true\n"
    (own / "our_unsafe.yaml").write_text(unsafe)
    return own


def ask(model: LoadedModel, limit: int | None = None, **options: Any) -> tuple[list[AnswerRecord], SuiteSpec]:
    concurrency = options.pop("concurrency", 1)
    spec = SuiteSpec(name="lm_eval", limit=limit, concurrency=concurrency, options=options)
    return list(LmEval().answers(model, SuiteContext(spec, None, "", lambda _: None))), spec


@pytest.mark.usefixtures("folder")
class TestAsking:
    pytestmark = needs_harness

    def test_choices_are_scored_as_the_engine_scores_them(self, smollm2: LoadedModel) -> None:
        answers, spec = ask(smollm2, limit=4, task="our_choices")
        order = data.pick(((f"our_choices/{n}", n) for n in range(len(ROWS))), 4, 0)
        assert [answer.item_id for answer in answers] == [f"our_choices/{n}" for n in order]
        assert LmEval().items(spec) == [answer.item_id for answer in answers]
        for answer, n in zip(answers, order, strict=True):
            row = ROWS[n]
            pairs = [encode_pair(smollm2, row["question"], f" {choice}") for choice in row["choices"]]
            (score,) = smollm2.score_choices([ChoiceRequest(pairs[0][0], [rest for _, rest in pairs])])
            kept = [logprob for logprob, _ in answer.detail["filtered_responses"]["none"]]
            assert kept == pytest.approx(score.logprobs, abs=0.3)
            assert (answer.prompt, answer.expected) == (row["question"], row["choices"][row["label"]])
            assert answer.answer == row["choices"][kept.index(max(kept))]
            assert answer.scores["accuracy"] == float(answer.answer == answer.expected)
        found = {m.figure: m for m in LmEval().measurements(answers, spec)}
        assert set(found) == {"accuracy", "accuracy_norm"}
        assert found["accuracy"].subject == "lm_eval our_choices"
        assert found["accuracy"].n == 4

    @pytest.mark.parametrize("concurrency", [1, 2])
    def test_answers_are_written_up_to_the_task_s_stops(self, smollm2: LoadedModel, concurrency: int) -> None:
        answers, spec = ask(smollm2, task="our_written", concurrency=concurrency)
        assert len(answers) == len(ROWS)
        for answer in answers if concurrency == 1 else ():
            tokens = smollm2.generate(GenerationRequest(smollm2.tokenize(answer.prompt), 8)).tokens
            assert answer.answer == smollm2.detokenize(tokens).partition(".")[0].partition("\n")[0]
        assert all(answer.answer and not set(answer.answer) & {".", "\n"} for answer in answers)
        (figure,) = LmEval().measurements(answers, spec)
        assert figure.key == "accuracy@lm_eval our_written"

    def test_running_text_is_surprising_as_its_logits_say(self, smollm2: LoadedModel) -> None:
        answers, spec = ask(smollm2, task="our_text")
        start = smollm2.tokenize("<|endoftext|>", add_special=False, parse_special=True)
        loss = 0.0
        for row in ROWS:
            tokens = smollm2.tokenize(row["question"], add_special=False)
            (rows,) = [part.copy() for part in smollm2.logits([[*start, *tokens][:-1]])]
            loss += float(negative_log_likelihoods(rows, tokens).sum())
        words = sum(len(row["question"].split()) for row in ROWS)
        (figure,) = LmEval().measurements(answers, spec)
        assert figure.key == "score_less_is_better.word_perplexity@lm_eval our_text"
        assert figure.value == pytest.approx(math.exp(loss / words), rel=0.05)

    def test_a_conversation_is_asked_in_the_model_s_template(self, smollm2: LoadedModel) -> None:
        answers, _ = ask(smollm2, limit=1, task="our_choices", chat=True)
        (n,) = (int(answer.item_id.partition("/")[2]) for answer in answers)
        row = ROWS[n]
        context = smollm2.chat_prompt([{"role": "user", "content": row["question"]}])
        choices = [smollm2.tokenize(choice, add_special=False) for choice in row["choices"]]
        (score,) = smollm2.score_choices([ChoiceRequest(context, choices)])
        kept = [logprob for logprob, _ in answers[0].detail["filtered_responses"]["none"]]
        assert kept == pytest.approx(score.logprobs, abs=0.3)
        assert answers[0].prompt == f"user: {row['question']}"

    @pytest.mark.parametrize("task", ["our_choice", "../home/lm_eval_tasks/our_choices.yaml"])
    def test_a_task_is_a_name_and_never_a_path(self, task: str) -> None:
        with pytest.raises(StudyError, match="no task"):
            LmEval().items(SuiteSpec(name="lm_eval", options={"task": task}))

    def test_a_task_that_runs_what_the_model_writes_is_refused(self) -> None:
        with pytest.raises(StudyError, match="as a program"):
            LmEval().items(SuiteSpec(name="lm_eval", options={"task": "our_unsafe"}))
