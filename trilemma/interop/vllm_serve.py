"""``vllm bench serve --save-result``: with ``--save-detailed`` from the times of each request, else as stated.

With ``--append-result`` a file has one result a line.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

from trilemma.bench.speed import speed_measurements
from trilemma.bench.under_load import Load
from trilemma.catalog.endpoints import AS_SERVED
from trilemma.errors import InteropError
from trilemma.interop.base import NOT_STATED, Given, Imported, ImportedRun, LeftOut, limited, once
from trilemma.interop.figures import CACHE_UNKNOWN, Source, load_subject
from trilemma.interop.load import CHUNKS, WHOLE_RUN, Timed, load_figures
from trilemma.interop.reading import LEAST, Count, FromTool, Real, Text, checked, json_lines, json_of, object_of
from trilemma.interop.weights import weights_of
from trilemma.records import RequestRecord
from trilemma.schema import Measurement
from trilemma.workloads.latency import NEEDED

_WAIT = (
    "requests waited for a free place before they were timed, which belongs to a time to first token in an open loop"
)


class _Result(FromTool):
    """The fields that are used."""

    date: Text = ""
    backend: Text = ""
    model_id: Text
    tokenizer_id: Text | None = None
    vllm_version: Text = ""
    num_prompts: Count
    request_rate: Real | Literal["inf"] | None = None
    ramp_up_strategy: Text | None = None
    max_concurrency: Count | None = None
    completed: Count
    failed: Count = 0
    total_input_tokens: Count
    total_output_tokens: Count
    input_lens: tuple[Count, ...] = ()
    output_lens: tuple[Count, ...] = ()
    ttfts: tuple[Real, ...] = ()
    itls: tuple[tuple[Real, ...], ...] = ()
    start_times: tuple[Real, ...] = ()
    queue_times: tuple[Real, ...] = ()
    errors: tuple[Text, ...] = ()


class _Answered(NamedTuple):
    """One answered request, times in seconds."""

    sent: float
    ttft: float
    itls: tuple[float, ...]
    prompt_tokens: int
    output_tokens: int

    @property
    def usable(self) -> bool:
        """Whether it has a time per output token, and times that can be: those of epochs and of monotonic clocks."""
        decoding = sum(self.itls)
        possible = min(self.itls, default=0.0) >= 0 and abs(self.sent) < 4e9 and self.ttft + decoding < 1e9
        return possible and self.output_tokens >= 2 and self.ttft > LEAST and decoding > LEAST


class _Asked(NamedTuple):
    """How requests came."""

    users: int
    rate: float | None

    @property
    def alone(self) -> bool:
        """Whether one at a time."""
        return self.users == 1 and self.rate is None


class VllmServe:
    """The JSON that ``vllm bench serve --save-result`` writes."""

    name: ClassVar[str] = "vllm-bench-serve"
    title: ClassVar[str] = "vllm bench serve"

    def sniff(self, head: bytes) -> bool:
        """Whether it has the fields that no other tool's file has together."""
        return all(
            b'"' + name + b'"' in head for name in (b"tokenizer_id", b"num_prompts", b"request_rate", b"model_id")
        )

    def read(self, given: Given) -> Imported:
        """A run for each result.

        Raises:
            InteropError: it is not this tool's, or no result has a figure that can be taken.
        """
        results = [(where, checked(_Result, document, where), document) for where, document in _documents(given.data)]
        runs: list[ImportedRun] = []
        left_out: list[LeftOut] = []
        for where, result, document in results:
            try:
                runs.append(_run(result, document, left_out))
            except InteropError as error:
                if len(results) == 1:
                    raise
                left_out.append(LeftOut(what=where, why=error.message))
        if not runs:
            raise InteropError("No figure of these results can be taken.", "Give one with completed requests.")
        return Imported(tool=self.name, version=results[0][1].vllm_version, runs=limited(runs), left_out=once(left_out))


def _documents(data: bytes) -> list[tuple[str, Mapping[str, Any]]]:
    """The results of a file, and where each is: one, however it is laid out, or one a line."""
    first, _, rest = data.strip().partition(b"\n")
    if first.rstrip().endswith(b"}") and rest:
        return [(f"Line {number}", object_of(value, f"Line {number}")) for number, value in json_lines(data)]
    return [("The file", object_of(json_of(data)))]


def _run(result: _Result, document: Mapping[str, Any], left_out: list[LeftOut]) -> ImportedRun:
    """The run of one result.

    Raises:
        InteropError: no figure of it can be taken.
    """
    if not result.completed:
        raise InteropError("No request of this benchmark was answered.", "Give a result with completed requests.")
    if result.ramp_up_strategy:
        raise InteropError("The rate of this benchmark changed all the time.", "Give one at a constant rate.")
    asked = _asked(result)
    source = Source("vllm bench serve", result.vllm_version)
    lengths = [total / result.completed for total in (result.total_input_tokens, result.total_output_tokens)]
    subject = load_subject(lengths[0], lengths[1], asked.users, asked.rate)
    found, skipped = _figures(source, subject, asked, result, document)
    if not found:
        raise InteropError("No figure of this result can be taken.", "Give one with streamed answers.")
    left_out += skipped
    weights = weights_of(result.model_id)
    return ImportedRun(
        model=weights.model or NOT_STATED,
        quantization=weights.quantization or AS_SERVED,
        engine="endpoint",
        settings={**weights.settings, **({"backend": result.backend} if result.backend else {})},
        facts={
            "model_id": result.model_id,
            "tokenizer_id": result.tokenizer_id or "",
            "requests": result.num_prompts,
            "date, local there": result.date,
        },
        measurements=tuple(found),
    )


def _asked(result: _Result) -> _Asked:
    rate = result.request_rate
    if isinstance(rate, float) and rate > 0:
        return _Asked(1, rate)
    return _Asked(result.max_concurrency or max(1, result.num_prompts), None)


def _figures(
    source: Source, subject: str, asked: _Asked, result: _Result, document: Mapping[str, Any]
) -> tuple[list[Measurement], list[LeftOut]]:
    waited = asked.rate is not None and bool(result.max_concurrency)
    if not result.ttfts:
        found, left_out = _stated(source, subject, result, document)
    else:
        answered = _answered(result, from_due=asked.rate is not None)
        failed = len(result.ttfts) - len(answered)
        usable = [one for one in answered if one.usable]
        waited = waited and not result.queue_times
        if all(len(one.itls) + 1 == one.output_tokens for one in usable):
            found, left_out = _token_by_token(source, subject, asked, usable, failed)
        else:
            timed = [
                Timed(one.sent, one.ttft, one.ttft + sum(one.itls), one.prompt_tokens, one.output_tokens)
                for one in usable
            ]
            told = (CACHE_UNKNOWN,)
            found, left_out = load_figures(source, subject, timed, alone=asked.alone, failed=failed, reasons=told)
            left_out.append(LeftOut(what="inter-token latency", why=CHUNKS))
        if len(usable) < len(answered):
            why = "fewer than two output tokens, or times that cannot be"
            left_out.append(LeftOut(what=f"{len(answered) - len(usable)} requests", why=why))
    if waited:
        found = [one for one in found if one.figure not in ("ttft_s", "e2e_s")]
        left_out.append(LeftOut(what="times to first token and end to end", why=_WAIT))
    return found, left_out


def _answered(result: _Result, *, from_due: bool) -> list[_Answered]:
    """The requests that were answered; timed from when they were due, not from when a place was free, if ``from_due``.

    Raises:
        InteropError: its lists do not belong together.
    """
    count = len(result.ttfts)
    columns = [result.start_times, result.ttfts, result.itls, result.input_lens, result.output_lens]
    if any(len(column) != count for column in columns):
        raise InteropError("Its lists of requests differ in length.", "Give the tool's own output.")
    errors = result.errors if len(result.errors) == count else [""] * count
    queued = result.queue_times if from_due and len(result.queue_times) == count else [0.0] * count
    return [
        _Answered(sent - wait, ttft + wait, itls, asks, output)
        for sent, ttft, itls, asks, output, wait, error in zip(*columns, queued, errors, strict=True)
        if not error and output > 0
    ]


def _token_by_token(
    source: Source, subject: str, asked: _Asked, answered: list[_Answered], failed: int
) -> tuple[list[Measurement], list[LeftOut]]:
    """Where each token was timed: as a run here has it, steady window included."""
    begin = min((one.sent for one in answered), default=0.0)
    records = [
        RequestRecord(
            workload=subject,
            index=index,
            submitted_ns=round((one.sent - begin) * 1e9),
            token_times_ns=tuple(
                round((one.sent - begin + at) * 1e9) for at in itertools.accumulate((one.ttft, *one.itls))
            ),
            prompt_tokens=one.prompt_tokens,
            prefilled_tokens=one.prompt_tokens,
            output_tokens=one.output_tokens,
        )
        for index, one in enumerate(answered)
    ]
    found = speed_measurements(subject, records, Load(asked.users, asked.rate is not None))
    if failed:
        asked_for = failed + len(answered)
        found += source.stated("failed_share", failed / asked_for, subject, n=asked_for)
    return [_as_imported(source, one) for one in found], []


def _as_imported(source: Source, one: Measurement) -> Measurement:
    told = one.provenance
    how = "computed from the file's times of each token"
    update = {
        "window_s": told.window_s, "valid": told.valid, "reasons": (*told.reasons, how, CACHE_UNKNOWN),
    }  # fmt: skip
    return one.model_copy(update={"provenance": source.provenance.model_copy(update=update)})


def _stated(
    source: Source, subject: str, result: _Result, document: Mapping[str, Any]
) -> tuple[list[Measurement], list[LeftOut]]:
    """Where only its statistics are there: no intervals, and no percentile that it has too few requests for."""
    found: list[Measurement] = []
    left_out = [
        LeftOut(what="throughput", why=WHOLE_RUN),
        LeftOut(what="intervals", why="the file has no times of single requests: --save-detailed writes them"),
    ]
    figures = {"ttft_s": "ttft", "tpot_s": "tpot", "e2e_s": "e2el", "itl_s": "itl"}
    if not _by_token(document):
        del figures["itl_s"]
        if any(name.endswith("_itl_ms") for name in document):
            left_out.append(LeftOut(what="inter-token latency", why=CHUNKS))
    for figure, theirs in figures.items():
        for kind, needed in NEEDED.items():
            value = document.get(f"{kind}_{theirs}_ms")
            if not isinstance(value, int | float):
                continue
            if result.completed < needed:
                why = f"it needs {needed} requests, there are {result.completed}"
                left_out.append(LeftOut(what=f"{kind} of {figure}", why=why))
                continue
            found += source.stated(figure, value / 1e3, subject, kind, result.completed, reasons=(CACHE_UNKNOWN,))
    if result.failed:
        asked_for = result.failed + result.completed
        found += source.stated("failed_share", result.failed / asked_for, subject, n=asked_for)
    return found, left_out


def _by_token(document: Mapping[str, Any]) -> bool:
    """Whether its gaps are those between single tokens, as far as means tell: gaps between groups are longer."""
    gap, token = document.get("mean_itl_ms"), document.get("mean_tpot_ms")
    return isinstance(gap, int | float) and isinstance(token, int | float) and abs(gap - token) <= 0.01 * token
