"""AIPerf's summary, ``profile_export_aiperf.json``: statistics over requests, as it states them.

Its inter-token latency is ``(request latency - time to first token) / (output tokens - 1)``, which here is called time
per output token. It has no times of single requests, so that figures come without intervals.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, NamedTuple

from trilemma.catalog.endpoints import AS_SERVED
from trilemma.errors import InteropError
from trilemma.interop.base import NOT_STATED, Given, Imported, ImportedRun, LeftOut
from trilemma.interop.figures import CACHE_UNKNOWN, Source, load_subject
from trilemma.interop.load import WHOLE_RUN
from trilemma.interop.reading import Count, FromTool, Real, Text, checked, json_of, object_of
from trilemma.interop.weights import Weights, weights_of
from trilemma.schema import Measurement
from trilemma.workloads.latency import NEEDED

_LATENCIES = {"ttft_s": "time_to_first_token", "tpot_s": "inter_token_latency", "e2e_s": "request_latency"}
_STATISTICS = {"mean": "avg", "median": "p50", "p90": "p90", "p95": "p95", "p99": "p99"}
_ALONE = {
    "prefill_tps": ("prefill_throughput_per_user", "p50"),
    "decode_tps": ("output_token_throughput_per_user", "p50"),
    "output_tps": ("output_token_throughput", "avg"),
    "request_rate": ("request_throughput", "avg"),
}
"""What means the same where requests come one after the other, and only there."""
_SECONDS = {"ms": 1e-3, "s": 1.0, "us": 1e-6, "ns": 1e-9}
_WAIT = "requests waited for a free place before they were timed, which in an open loop belongs to these times"
_FAILED = "requests failed, and its percentiles count them"
_OWN_COUNT = "its own tokenizer counted other lengths than the server: --use-server-token-count takes the server's"
_BY_ANSWER = ("tpot_s", "decode_tps", "output_tps")
"""What depends on how many tokens an answer has."""
_POWER = "it counts whole GPUs with their idle power, whoever uses them"


class _Metric(FromTool):
    unit: Text = ""
    avg: Real | None = None
    p50: Real | None = None
    p90: Real | None = None
    p95: Real | None = None
    p99: Real | None = None
    count: Count | None = None


class _Named(FromTool):
    name: Text = ""


class _Models(FromTool):
    items: tuple[_Named, ...] = ()


class _Phase(FromTool):
    type: Text = ""
    name: Text = ""
    concurrency: Count | None = None
    rate: Real | None = None


class _Config(FromTool):
    models: _Models = _Models()
    phases: tuple[_Phase, ...] = ()


class _Summary(FromTool):
    aiperf_version: Text = ""
    input_config: _Config
    end_time: datetime | None = None
    was_cancelled: bool | None = None
    is_complete: bool | None = None
    telemetry_data: dict[str, object] | None = None


class _Load(NamedTuple):
    """How requests came: users, or a rate, or neither where it cannot be told."""

    users: int | None
    rate: float | None
    capped: bool


class AiPerf:
    """The JSON summary of ``aiperf profile``."""

    name: ClassVar[str] = "aiperf"
    title: ClassVar[str] = "AIPerf"

    def sniff(self, head: bytes) -> bool:
        """Whether it states AIPerf's version, which comes first in a summary."""
        return b'"aiperf_version"' in head

    def read(self, given: Given) -> Imported:
        """One run.

        Raises:
            InteropError: it is not AIPerf's, or no request was answered.
        """
        document = object_of(json_of(given.data))
        told = checked(_Summary, document, "The summary")
        requests = _metric(document, "request_latency")
        count = requests.count if requests and requests.count else _whole(_metric(document, "request_count"))
        if not count:
            raise InteropError("No request in this summary was answered.", "Give a summary with answered requests.")
        load = _load(told.input_config.phases)
        asks = _mean(document, "usage_prompt_tokens") or _mean(document, "input_sequence_length")
        answers = _mean(document, "usage_completion_tokens") or _mean(document, "output_sequence_length")
        source = Source("AIPerf", told.aiperf_version)
        found, left_out = _figures(source, load_subject(asks, answers, load.users, load.rate), load, document, count)
        if not found:
            raise InteropError("No figure of this summary can be taken.", "Give one with streamed answers.")
        if told.telemetry_data and told.telemetry_data.get("endpoints"):
            left_out.append(LeftOut(what="power and energy", why=_POWER))
        cut_short = told.was_cancelled or told.is_complete is False
        models = [item.name for item in told.input_config.models.items if item.name]
        weights = weights_of(models[0]) if len(models) == 1 else Weights(", ".join(models)[:200], "", {})
        run = ImportedRun(
            model=weights.model or NOT_STATED,
            quantization=weights.quantization or AS_SERVED,
            engine="endpoint",
            settings=weights.settings,
            disturbances=("the benchmark was stopped before its end",) if cut_short else (),
            facts={"requests": count, "end, local there": str(told.end_time or "")},
            measurements=tuple(found),
        )
        return Imported(tool=self.name, version=told.aiperf_version, runs=(run,), left_out=tuple(left_out))


def _load(phases: tuple[_Phase, ...]) -> _Load:
    """Of the phase that is measured: the one of that name, else the last."""
    phase = next((one for one in phases if one.name == "profiling"), phases[-1] if phases else _Phase())
    if phase.type == "concurrency":
        return _Load(phase.concurrency or 1, None, capped=False)
    if phase.rate and phase.rate > 0:
        return _Load(None, phase.rate, capped=phase.concurrency is not None)
    return _Load(None, None, capped=phase.concurrency is not None)


def _figures(
    source: Source, subject: str, load: _Load, document: Mapping[str, Any], count: int
) -> tuple[list[Measurement], list[LeftOut]]:
    failed = _whole(_metric(document, "error_request_count"))
    refused = dict.fromkeys(("ttft_s", "e2e_s"), _WAIT) if load.capped else {}
    if not _agree(document, "output_sequence_length", "usage_completion_tokens"):
        refused |= dict.fromkeys(_BY_ANSWER, _OWN_COUNT)
    if not _agree(document, "input_sequence_length", "usage_prompt_tokens"):
        refused["prefill_tps"] = _OWN_COUNT
    left_out = [LeftOut(what="intervals", why="the summary has no times of single requests")]
    left_out += [LeftOut(what=figure, why=why) for figure, why in refused.items()]
    found: list[Measurement] = []
    for figure, name in _LATENCIES.items():
        metric = _metric(document, name)
        if metric is not None and metric.unit in _SECONDS and figure not in refused:
            found += _latency(source, figure, subject, metric, metric.count or count, failed, left_out)
    if load.users != 1:
        left_out.append(LeftOut(what="throughput", why=WHOLE_RUN))
    elif not failed:
        for figure, (name, theirs) in _ALONE.items():
            metric = _metric(document, name)
            if metric is not None and figure not in refused:
                found += source.stated(figure, getattr(metric, theirs), subject, n=count, reasons=(CACHE_UNKNOWN,))
    if failed:
        found += source.stated("failed_share", failed / (failed + count), subject, n=failed + count)
    return found, left_out


def _latency(
    source: Source, figure: str, subject: str, metric: _Metric, n: int, failed: int, left_out: list[LeftOut]
) -> list[Measurement]:
    """Its statistics in seconds, without those that there are too few requests for, or that count failed ones."""
    found: list[Measurement] = []
    for kind, theirs in _STATISTICS.items():
        value = getattr(metric, theirs)
        if kind != "mean" and failed:
            left_out.append(LeftOut(what=f"{kind} of {figure}", why=_FAILED))
        elif value is not None and n < NEEDED[kind]:
            why = f"it needs {NEEDED[kind]} requests, there are {n}"
            left_out.append(LeftOut(what=f"{kind} of {figure}", why=why))
        elif value is not None:
            seconds = value * _SECONDS[metric.unit]
            found += source.stated(figure, seconds, subject, kind, n, reasons=(CACHE_UNKNOWN,))
    return found


def _agree(document: Mapping[str, Any], own: str, server: str) -> bool:
    """Whether its own count of tokens is the server's, as far as the server told one."""
    counted, told = _mean(document, own), _mean(document, server)
    return not told or abs(counted - told) <= 0.005 * told


def _metric(document: Mapping[str, Any], name: str) -> _Metric | None:
    value = document.get(name)
    return checked(_Metric, value, name) if isinstance(value, dict) else None


def _mean(document: Mapping[str, Any], name: str) -> float:
    metric = _metric(document, name)
    return metric.avg or 0.0 if metric else 0.0


def _whole(metric: _Metric | None) -> int:
    return int(metric.avg) if metric and metric.avg and 0 < metric.avg < 1e12 else 0
