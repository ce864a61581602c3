"""optimum-benchmark: ``benchmark.json`` (configuration and report), and flattened tables, as LLM-Perf publishes them.

Only text generation with a batch of one is taken. Its prefill ends before the first token is chosen, so that it is the
engine's own prefill speed; its decoding is what follows, the choice of tokens and the Python loop included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field, JsonValue

from trilemma.catalog.names import clean, split_file_name
from trilemma.errors import InteropError
from trilemma.interop.base import NOT_STATED, Given, Imported, ImportedRun, LeftOut, limited, once
from trilemma.interop.figures import Source
from trilemma.interop.reading import (
    LEAST,
    Count,
    FromTool,
    Real,
    Text,
    checked,
    csv_rows,
    json_of,
    number_of,
    object_of,
)
from trilemma.interop.weights import SECRET, argument, scheme, weights_of
from trilemma.schema import Measurement

_MEMORY = "it counts resident pages of the benchmark's own process, or what an allocator set aside: another figure"
_ENERGY = "it is codecarbon's, which includes idle power, and constants where nothing can be read"
_BATCH = "a batch of several is no request of one user"
_DEPTH = 12
_NO_SETTING = frozenset(
    {"name", "version", "_target_", "model", "processor", "task", "library", "model_type", "seed", "no_weights"}
    | {"processor_kwargs", "quantization_scheme", "quantization_config.quant_method"}
)
"""Of a back end, what says what is measured; everything else says how, and tells configurations apart."""


class _Latency(FromTool):
    values: tuple[Real, ...] = ()
    mean: Real | None = None
    count: Count | None = None


class _Target(FromTool):
    latency: _Latency | None = None
    memory: dict[str, object] | None = None
    energy: dict[str, object] | None = None


class _Report(FromTool):
    load_model: _Target | None = None
    prefill: _Target | None = None
    decode: _Target | None = None
    generate: _Target | None = None


class _Backend(FromTool):
    name: Text = "pytorch"
    version: Text | None = None
    model: Text
    torch_dtype: Text | None = None
    dtype: Text | None = None
    filename: Text | None = None
    no_weights: bool | Text | None = None


class _Shapes(FromTool):
    batch_size: Count = 1
    sequence_length: Count | None = None


class _Generate(FromTool):
    max_new_tokens: Count | None = None


class _Scenario(FromTool):
    input_shapes: _Shapes = _Shapes()
    generate_kwargs: _Generate = _Generate()


class _Environment(FromTool):
    cpu: Text | None = None
    gpu: Text | tuple[Text, ...] | None = None
    optimum_benchmark_version: Text | None = None


class _Config(FromTool):
    backend: _Backend
    scenario: _Scenario = _Scenario()
    environment: _Environment = _Environment()


class _Benchmark(FromTool):
    config: _Config
    report: _Report = Field(default_factory=_Report)


class Optimum:
    """``benchmark.json``, or a CSV whose columns are ``config.…`` and ``report.…``."""

    name: ClassVar[str] = "optimum-benchmark"
    title: ClassVar[str] = "optimum-benchmark, LLM-Perf"

    def sniff(self, head: bytes) -> bool:
        """Whether it holds a benchmark's configuration and report, nested or flattened."""
        if head.lstrip().startswith(b"{"):
            return b'"config"' in head and b'"backend"' in head and b"optimum_benchmark" in head
        header = head.partition(b"\n")[0]
        return b"config.backend.model" in header and b"report.prefill.latency" in header

    def read(self, given: Given) -> Imported:
        """A run for each benchmark.

        Raises:
            InteropError: it is not this tool's, or nothing in it can be taken.
        """
        left_out: list[LeftOut] = []
        runs = []
        version = ""
        if given.data.lstrip()[:1] == b"{":
            entries = [object_of(json_of(given.data))]
        else:
            entries = [_nested(row) for row in csv_rows(given.data)]
        for number, entry in enumerate(entries, 1):
            told = checked(_Benchmark, entry, "The benchmark" if len(entries) == 1 else f"Row {number}")
            version = version or told.config.environment.optimum_benchmark_version or ""
            run = _run(told, entry["config"]["backend"], left_out)
            if run is None:
                left_out.append(LeftOut(what=f"benchmark {number}", why="nothing in it can be taken"))
            else:
                runs.append(run)
        if not runs:
            why = once(left_out)[0].why if left_out else "it has no latencies"
            raise InteropError(f"No figure of the file can be taken: {why}.", "Give a run with a batch of one.")
        return Imported(tool=self.name, version=version, runs=limited(runs), left_out=once(left_out))


def _run(told: _Benchmark, loaded: Mapping[str, Any], left_out: list[LeftOut]) -> ImportedRun | None:
    config, report = told.config, told.report
    targets = (report.load_model, report.prefill, report.decode, report.generate)
    if any(target and target.memory for target in targets):
        left_out.append(LeftOut(what="memory", why=_MEMORY))
    if any(target and target.energy for target in targets):
        left_out.append(LeftOut(what="energy", why=_ENERGY))
    shapes, tokens = config.scenario.input_shapes, config.scenario.generate_kwargs.max_new_tokens
    if shapes.batch_size != 1:
        left_out.append(LeftOut(what=f"batch size {shapes.batch_size}", why=_BATCH))
        return None
    if not shapes.sequence_length or not tokens or tokens < 2:
        left_out.append(LeftOut(what=config.backend.model[:80], why="the lengths of prompt or answer are not stated"))
        return None
    backend, environment = config.backend, config.environment
    source = Source("optimum-benchmark", environment.optimum_benchmark_version or "", "request")
    subject = f"in{shapes.sequence_length}_out{tokens}"
    reasons = ("random weights of the model's shape",) if str(backend.no_weights).lower() == "true" else ()
    found: list[Measurement] = []
    if report.prefill and report.prefill.latency:
        found += _speed(source, "engine_prefill_tps", report.prefill.latency, shapes.sequence_length, subject, reasons)
    if report.decode and report.decode.latency:
        found += _speed(source, "decode_tps", report.decode.latency, tokens - 1, subject, reasons)
        found += _times(source, "tpot_s", report.decode.latency, 1 / (tokens - 1), subject, reasons)
    if report.generate and report.generate.latency:
        found += _times(source, "e2e_s", report.generate.latency, 1.0, subject, reasons)
    if report.load_model and report.load_model.latency and not reasons:
        found += source.stated("load_s", report.load_model.latency.mean, n=report.load_model.latency.count or 1)
    if not found:
        return None
    gpu = environment.gpu if isinstance(environment.gpu, str) else ", ".join(environment.gpu or ())
    weights = weights_of(backend.model)
    stored = _quantization(loaded) or (split_file_name(backend.filename)[1] if backend.filename else None)
    return ImportedRun(
        model=weights.model or NOT_STATED,
        quantization=(stored or weights.quantization or backend.torch_dtype or backend.dtype or NOT_STATED)[:60],
        engine=backend.name[:60],
        engine_version=backend.version or "",
        settings={**weights.settings, **dict(_settings(loaded))},
        machine=", ".join(filter(None, (environment.cpu, gpu)))[:200],
        measurements=tuple(found),
    )


def _quantization(loaded: Mapping[str, Any]) -> str:
    """What the weights were loaded as; empty where it is what they are."""
    config = loaded.get("quantization_config")
    config = config if isinstance(config, dict) else {}
    method = argument(config.get("quant_method") or loaded.get("quantization_scheme"))
    if not isinstance(method, str):
        return ""
    told = {name: argument(config.get(name)) for name in ("bits", "load_in_4bit", "load_in_8bit", "quant_type")}
    bits = told["bits"] or (4 if told["load_in_4bit"] else 8 if told["load_in_8bit"] else None)
    return scheme(method, bits, told["quant_type"])


def _settings(loaded: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, JsonValue]]:
    """What is set, ``quantization_config.version`` and the like by their whole names; what is off is not set."""
    for key, value in loaded.items():
        name = above + key
        if name in _NO_SETTING or SECRET.search(key):
            continue
        if isinstance(value, dict):
            if name.count(".") < _DEPTH:
                yield from _settings(value, f"{name}.")
        elif value not in (None, [], "") and (told := argument(value)) is not None and told is not False:
            yield clean(name, 60), told


def _speed(
    source: Source, figure: str, latency: _Latency, tokens: int, subject: str, reasons: tuple[str, ...]
) -> list[Measurement]:
    """Tokens a second: the median over its repetitions, or from its mean where there are none."""
    values = [tokens / value for value in latency.values if value > LEAST]
    if values:
        return source.estimated(figure, values, subject, "median", shown="", reasons=reasons)
    if not latency.mean or latency.mean <= LEAST:
        return []
    told = ("from the mean of its repetitions", *reasons)
    return source.stated(figure, tokens / latency.mean, subject, n=latency.count or 0, reasons=told)


def _times(
    source: Source, figure: str, latency: _Latency, factor: float, subject: str, reasons: tuple[str, ...]
) -> list[Measurement]:
    values = [value * factor for value in latency.values if value > LEAST]
    if values:
        return source.over(figure, values, subject, reasons=reasons)
    mean = None if latency.mean is None else latency.mean * factor
    return source.stated(figure, mean, subject, "mean", latency.count or 0, reasons=reasons)


def _nested(row: Mapping[str, str]) -> dict[str, Any]:
    """``{"a.b": "1"}`` as ``{"a": {"b": 1.0}}``; empty cells are left out."""
    made: dict[str, Any] = {}
    for column, cell in row.items():
        *above, last = column.split(".")
        if not cell or len(above) > _DEPTH:
            continue
        inner: Any = made
        for part in above:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                break
        else:
            inner[last] = _value(cell)
    return made


def _value(cell: str) -> Any:
    if cell.startswith("["):
        return json_of(cell.replace("'", '"'), "A cell")
    number = number_of(cell)
    return cell if number is None else int(number) if number.is_integer() and "." not in cell else number
