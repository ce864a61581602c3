"""guidellm's report (``--output kind=json``): a run for each of its benchmarks, from its times of each request.

Its time per output token includes the first token and is not ours; its inter-token latency is ``(last token - first
token) / (output tokens - 1)``, which here is called time per output token.

Its lists hold the requests of warm-up and cool-down too, which its own statistics leave out, and are a random sample
where ``sample_size`` says so.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar

from pydantic import Field

from trilemma.catalog.endpoints import AS_SERVED
from trilemma.errors import InteropError
from trilemma.interop.base import NOT_STATED, Given, Imported, ImportedRun, LeftOut, limited, once
from trilemma.interop.figures import CACHE_UNKNOWN, Source, load_subject
from trilemma.interop.load import CHUNKS, Timed, load_figures
from trilemma.interop.reading import Count, FromTool, Real, Text, checked, json_of, object_of
from trilemma.interop.weights import weights_of

_OPEN = ("constant", "poisson", "trace")
"""Strategies in which a request is due at a time of its own."""
_WITH_PREFILL = ("ttft_s", "e2e_s", "prefill_tps", "output_tps", "request_rate")
"""What a prompt cache makes better."""
_WHOLE = ("output_tps", "request_rate")
"""What all requests are needed for."""


class _Timings(FromTool):
    request_start: Real | None = None
    targeted_start: Real | None = None
    first_token_iteration: Real | None = None
    last_token_iteration: Real | None = None
    token_iterations: Count = 0
    resolve_end: Real | None = None


class _Info(FromTool):
    timings: _Timings


class _Request(FromTool):
    info: _Info
    prompt_tokens: Count | None = None
    output_tokens: Count | None = None
    cached_tokens: Count | None = None


class _Requests(FromTool):
    successful: tuple[_Request, ...] | None = ()
    errored: tuple[_Request, ...] | None = ()
    incomplete: tuple[_Request, ...] | None = ()


class _Made(FromTool):
    successful: Count = 0
    errored: Count = 0


class _Scheduled(FromTool):
    requests_made: _Made = _Made()


class _Strategy(FromTool):
    type_: Text = ""
    streams: Count | None = None
    rate: Real | None = None
    max_concurrency: Count | None = None


class _Config(FromTool):
    strategy: _Strategy
    backend: dict[str, object] = Field(default_factory=dict)


class _Benchmark(FromTool):
    config: _Config
    requests: _Requests
    scheduler_metrics: _Scheduled | None = None
    start_time: Real | None = None
    end_time: Real | None = None
    warmup_duration: Real | None = None
    cooldown_duration: Real | None = None

    def measured(self, request: _Request) -> bool:
        """Whether a request was sent while the benchmark measured, neither in its warm-up nor in its cool-down."""
        timings = request.info.timings
        sent = timings.resolve_end if timings.request_start is None else timings.request_start
        if sent is None:
            return True
        early = bool(self.warmup_duration) and self.start_time is not None and sent < self.start_time
        late = bool(self.cooldown_duration) and self.end_time is not None and sent > self.end_time
        return not early and not late


class _Metadata(FromTool):
    guidellm_version: Text = ""
    platform: Text = ""


class _Report(FromTool):
    metadata: _Metadata = _Metadata()
    benchmarks: tuple[_Benchmark, ...]


class GuideLlm:
    """The JSON report of ``guidellm run``."""

    name: ClassVar[str] = "guidellm"
    title: ClassVar[str] = "guidellm"

    def sniff(self, head: bytes) -> bool:
        """Whether it states guidellm's version, which comes first in a report."""
        return b'"guidellm_version"' in head

    def read(self, given: Given) -> Imported:
        """A run for each benchmark that has an answered request.

        Raises:
            InteropError: it is not guidellm's, or nothing in it was answered.
        """
        report = checked(_Report, object_of(json_of(given.data)), "The report")
        left_out: list[LeftOut] = []
        runs = []
        for number, benchmark in enumerate(report.benchmarks, 1):
            run = _run(benchmark, report.metadata, left_out)
            if run is None:
                left_out.append(LeftOut(what=f"benchmark {number}", why="no figure of it can be taken"))
            else:
                runs.append(run)
        if not runs:
            raise InteropError("No figure in this report can be taken.", "Give a report with successful requests.")
        left_out.append(
            LeftOut(what="time per output token", why="it includes the first token; its inter-token latency does not")
        )
        return Imported(
            tool=self.name, version=report.metadata.guidellm_version, runs=limited(runs), left_out=once(left_out)
        )


def _run(benchmark: _Benchmark, metadata: _Metadata, left_out: list[LeftOut]) -> ImportedRun | None:
    strategy = benchmark.config.strategy
    open_loop = strategy.type_ in _OPEN
    listed = [benchmark.requests.successful or (), benchmark.requests.errored or ()]
    answered, errored = ([one for one in requests if benchmark.measured(one)] for requests in listed)
    made = benchmark.scheduler_metrics.requests_made if benchmark.scheduler_metrics else _Made()
    total, kept = made.successful + made.errored, sum(map(len, listed))
    share = kept / total if total > kept else 1.0
    requests = [one for request in answered if (one := _timed(request, due=open_loop)) is not None]
    if not requests:
        return None
    at_once = 1 if strategy.type_ == "synchronous" else round(len(listed[0]) / share)
    users = strategy.streams or strategy.max_concurrency or at_once
    rate = (strategy.rate or _rate(requests, share)) if open_loop else None
    asks = sum(one.prompt_tokens for one in requests) / len(requests)
    answers = sum(one.output_tokens for one in requests) / len(requests)
    source = Source("guidellm", metadata.guidellm_version)
    subject = load_subject(asks, answers, users, rate)
    found, skipped = load_figures(
        source,
        subject,
        requests,
        alone=users == 1 and not open_loop,
        failed=len(errored) if share == 1 else 0,
        reasons=(CACHE_UNKNOWN,),
    )
    left_out += skipped
    if outside := kept - len(answered) - len(errored):
        left_out.append(LeftOut(what=f"{outside} requests", why="they were sent in the warm-up or the cool-down"))
    if share < 1:
        found = [one for one in found if one.figure not in _WHOLE]
        left_out.append(LeftOut(what="throughput", why=f"a sample of {kept:,} of {total:,} requests is in the file"))
        if made.errored:
            found += source.stated("failed_share", made.errored / total, subject, n=total)
    if cached := sum(one.cached_tokens or 0 for one in answered):
        why = f"{cached:,} prompt tokens came from the server's cache, which is off in a run here"
        left_out += [LeftOut(what=figure, why=why) for figure in _WITH_PREFILL]
        found = [one for one in found if one.figure not in _WITH_PREFILL]
    if not found:
        return None
    if any(one.info.timings.token_iterations not in (0, one.output_tokens) for one in answered):
        left_out.append(LeftOut(what="inter-token latency of single tokens", why=CHUNKS))
    if unfinished := len(benchmark.requests.incomplete or ()):
        left_out.append(LeftOut(what=f"{unfinished} requests", why="they were not over when the benchmark ended"))
    model = benchmark.config.backend.get("model")
    weights = weights_of(model if isinstance(model, str) else "")
    ended = benchmark.end_time
    return ImportedRun(
        model=weights.model or NOT_STATED,
        quantization=weights.quantization or AS_SERVED,
        engine="endpoint",
        settings=weights.settings,
        finished_at=datetime.fromtimestamp(ended, UTC) if ended and 0 < ended < 1e11 else None,
        facts={"strategy": strategy.type_, "client's platform": metadata.platform, "requests": len(answered)},
        measurements=tuple(found),
    )


def _timed(request: _Request, *, due: bool) -> Timed | None:
    """Its times from when it was sent, or in an open loop from when it was due; None where one is missing."""
    timings = request.info.timings
    sent = timings.targeted_start if due and timings.targeted_start is not None else timings.request_start
    first, last = timings.first_token_iteration, timings.last_token_iteration
    if sent is None or first is None or last is None or not request.output_tokens:
        return None
    return Timed(sent, first - sent, last - sent, request.prompt_tokens or 0, request.output_tokens)


def _rate(requests: list[Timed], share: float) -> float:
    """Arrivals a second, of which ``share`` are known."""
    span = max(one.sent for one in requests) - min(one.sent for one in requests)
    return (len(requests) / share - 1) / span if span > 0 else 0.0
