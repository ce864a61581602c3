"""lm-evaluation-harness: the ``results_*.json`` of ``--output_path``. Scores only; it measures no speed.

Figures are about ``lm_eval TASK``, as those of the suite ``lm_eval`` here, which asks the same prompts through the same
harness. Where ``--limit`` took the first items only, the subject says so: a run here draws its items by lot.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from pydantic import Field, JsonValue

from trilemma.catalog.names import clean, split_file_name
from trilemma.errors import InteropError
from trilemma.interop.base import NOT_STATED, Given, Imported, ImportedRun, LeftOut, once
from trilemma.interop.figures import Source
from trilemma.interop.reading import Count, FromTool, Real, Text, checked, json_of, object_of
from trilemma.interop.weights import SECRET, Weights, argument, scheme, weights_of
from trilemma.schema import Measurement
from trilemma.suites.harness.results import figure_names, number, plain_name

_DISTINCT = ("accuracy", "accuracy_norm", "accuracy_strict")
_NO_SETTING = frozenset(
    {"pretrained", "model", "device", "parallelize", "max_memory_per_gpu", "max_cpu_memory"}
    | {"offload_folder", "tensor_parallel_size", "data_parallel_size", "pipeline_parallel_size", "swap_space"}
    | {"gpu_memory_utilization", "batch_size", "max_batch_size", "num_concurrent", "max_retries", "timeout", "seed"}
    | {"tokenized_requests", "tokenizer_backend", "verify_certificate", "trust_remote_code", "logits_cache"}
)
"""Arguments that say where and how fast a model answers; all others say which one does, or what it is asked."""


class _Count(FromTool):
    original: Count = 0
    effective: Count = 0


class _Config(FromTool):
    model: Text = ""
    model_args: dict[str, object] | str | None = None
    limit: Real | None = None
    batch_size: Text | int | None = None


class _Results(FromTool):
    results: dict[str, dict[str, object]]
    configs: dict[str, dict[str, object]] = Field(default_factory=dict)
    versions: dict[str, object] = Field(default_factory=dict)
    n_shot: dict[str, object] = Field(default_factory=dict, validation_alias="n-shot")
    n_samples: dict[str, _Count] = Field(default_factory=dict, validation_alias="n-samples")
    higher_is_better: dict[str, dict[str, object]] = Field(default_factory=dict)
    config: _Config
    date: Real | None = None
    lm_eval_version: Text = ""
    model_name: Text = ""
    chat_template: str | None = None


class LmEvalResults:
    """The results file of lm-evaluation-harness."""

    name: ClassVar[str] = "lm-eval"
    title: ClassVar[str] = "lm-evaluation-harness"

    def sniff(self, head: bytes) -> bool:
        """Whether it begins with results by task, as the harness writes them."""
        return head.lstrip().startswith(b"{") and b'"results"' in head[:200] and b'"alias"' in head

    def read(self, given: Given) -> Imported:
        """One run with the scores of all its tasks.

        Raises:
            InteropError: it is not the harness's, or has no score.
        """
        told = checked(_Results, object_of(json_of(given.data)), "The results")
        source = Source("lm-evaluation-harness", told.lm_eval_version, "items")
        left_out: list[LeftOut] = []
        found: list[Measurement] = []
        for task, scores in told.results.items():
            found += _task(source, clean(task, 120), task, scores, told, left_out)
        if not found:
            raise InteropError("The file has no score that can be taken.", "Give a results file with scored tasks.")
        arguments = {
            name: value for name, value in _arguments(told.config.model_args).items() if not SECRET.search(name)
        }
        named = next((arguments[key] for key in ("pretrained", "model") if key in arguments), told.model_name)
        weights = weights_of(str(named))
        settings = {name: value for name, value in arguments.items() if name not in _NO_SETTING}
        run = ImportedRun(
            model=weights.model or NOT_STATED,
            quantization=_quantization(arguments, weights) or NOT_STATED,
            engine=told.config.model or "lm_eval",
            settings={**weights.settings, **settings, **({"chat_template": True} if told.chat_template else {})},
            finished_at=datetime.fromtimestamp(told.date, UTC) if told.date and 0 < told.date < 1e11 else None,
            facts={"model_args": arguments},
            measurements=tuple(found),
        )
        return Imported(tool=self.name, version=told.lm_eval_version, runs=(run,), left_out=once(left_out))


def _task(
    source: Source, title: str, task: str, scores: Mapping[str, object], told: _Results, left_out: list[LeftOut]
) -> list[Measurement]:
    pairs = [
        (metric, which)
        for name in scores
        for metric, comma, which in [name.partition(",")]
        if comma and not metric.endswith("_stderr") and number(scores[name]) is not None
    ]
    count = told.n_samples.get(task)
    if count is None:
        if pairs:
            why = "a group's score is weighted by a rule of its own; its tasks are taken"
            left_out.append(LeftOut(what=f"group {title}", why=why))
        return []
    first = count.effective < count.original
    subject = f"lm_eval {title}" + (f", first {count.effective}" if first else "")
    shots = told.n_shot.get(task)
    reasons = [f"task version {clean(told.versions.get(task, 'unknown'), 20)}"]
    if isinstance(shots, int):
        reasons.append(f"worked examples: {shots}")
    names = figure_names(pairs)
    better = told.higher_is_better.get(task, {})
    found: list[Measurement] = []
    for metric, which in pairs:
        name = names[metric, which]
        statistic = ""
        if name in _DISTINCT:
            figure = name
        else:
            figure = "score_less_is_better" if better.get(metric) is False else "score"
            statistic = plain_name(metric, which, list(dict.fromkeys(one for _, one in pairs)))
        value, error = number(scores[f"{metric},{which}"]), number(scores.get(f"{metric}_stderr,{which}"))
        share = name in _DISTINCT
        if share and value is not None and not 0.0 <= value <= 1.0:
            left_out.append(LeftOut(what=f"{title} {name}", why=f"{value:g} is no share of the answers"))
            continue
        found += source.with_error(figure, value, error, subject, statistic, count.effective, reasons, share=share)
    return found


def _quantization(arguments: Mapping[str, JsonValue], weights: Weights) -> str:
    """What the weights were loaded as, else what their name says, else the data type."""
    told = {name: argument(value) for name, value in arguments.items()}
    if isinstance(file := told.get("gguf_file"), str) and (stored := split_file_name(file)[1]):
        return stored
    for name, bits in (("load_in_4bit", 4), ("load_in_8bit", 8)):
        if told.get(name):
            return scheme("bnb", bits)
    if isinstance(method := told.get("quantization"), str):
        return scheme(method)
    if told.get("gptqmodel") or told.get("autogptq"):
        return weights.quantization or scheme("gptq")
    return weights.quantization or clean(arguments.get("dtype", ""), 40)


def _arguments(given: Mapping[str, object] | str | None) -> dict[str, JsonValue]:
    """What the model was made with; ``a=b,c=d`` or an object."""
    pairs: list[tuple[Any, Any]] = []
    if isinstance(given, str):
        pairs = [(key, value) for part in given.split(",") for key, sign, value in [part.partition("=")] if sign]
    elif given is not None:
        pairs = [(key, value) for key, value in given.items() if isinstance(value, str | int | float | bool)]
    return {clean(key, 60): clean(value, 200) for key, value in pairs[:50]}
