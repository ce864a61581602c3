"""llama-bench: JSON, JSON lines, SQL and CSV, all with the same fields.

A test of prompt processing (``pp``) is the engine's own prefill speed, one of text generation (``tg``) its own decode
speed: llama-bench neither samples nor detokenises. The SQL is never run, only taken apart.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from pydantic import JsonValue

from trilemma.catalog.names import clean, model_name, split_file_name
from trilemma.errors import InteropError
from trilemma.interop.base import NOT_STATED, Given, Imported, ImportedRun, LeftOut, limited, once
from trilemma.interop.figures import Source
from trilemma.interop.reading import Count, FromTool, Real, Text, checked, csv_rows, json_lines, json_of, text_of
from trilemma.schema import Measurement

_TYPE = re.compile(r"\b((?:IQ|TQ|Q)\d\w*|BF16|F16|F32|MXFP4\w*)(?: - (Small|Medium|Large))?", re.IGNORECASE)
_INSERT = re.compile(r"INSERT INTO\s+\w+\s*\(([^()]*)\)\s*VALUES\s*\((.*)\)\s*;\s*$", re.IGNORECASE)
_NAMES = {
    "n_threads": "threads", "n_batch": "batch", "n_ubatch": "micro_batch", "n_gpu_layers": "gpu_layers",
    "flash_attn": "flash_attention", "n_cpu_moe": "cpu_moe_layers", "use_mmap": "mmap",
}  # fmt: skip
"""Settings that have another name here."""
_NO_SETTING = re.compile(
    r"build_\w+|cpu_info|gpu_info|model_(filename|type|size|n_params)|n_prompt|n_gen|n_depth|test_time"
    r"|(avg|stddev|samples)_\w+"
)
"""Fields that say what was measured, and results. All others are settings, those of later versions too: a sweep over
one that were not would look like the same test, done again.
"""
_MAX_SETTINGS = 200


class _Test(FromTool):
    """One test, as all of its formats have it."""

    build_commit: Text = ""
    build_number: int | None = None
    cpu_info: Text = ""
    gpu_info: Text = ""
    model_filename: Text
    model_type: Text = ""
    model_size: Count = 0
    model_n_params: Count = 0
    n_prompt: Count
    n_gen: Count
    n_depth: Count = 0
    test_time: datetime | None = None
    avg_ts: Real
    stddev_ts: Real | None = None
    samples_ts: tuple[Real, ...] = ()


class LlamaBench:
    """Results of ``llama-bench -o json``, ``jsonl``, ``sql`` or ``csv``."""

    name: ClassVar[str] = "llama-bench"
    title: ClassVar[str] = "llama-bench"

    def sniff(self, head: bytes) -> bool:
        """Whether it names llama-bench's fields or its table."""
        return b"build_commit" in head and b"n_prompt" in head and b"avg_ts" in head

    def read(self, given: Given) -> Imported:
        """A run for each model and settings, with the speeds of its tests.

        Raises:
            InteropError: it is not llama-bench's.
        """
        left_out: list[LeftOut] = []
        groups: defaultdict[tuple[Any, ...], list[_Test]] = defaultdict(list)
        settings: dict[tuple[Any, ...], dict[str, JsonValue]] = {}
        for number, entry in enumerate(_entries(given.data), 1):
            test = checked(_Test, entry, f"Test {number}")
            own = _settings(entry)
            machine = (test.cpu_info, test.gpu_info, test.build_commit)
            key = (test.model_filename, test.model_type, test.model_size, *machine, *sorted(map(str, own.items())))
            groups[key].append(test)
            settings[key] = own
        if not groups:
            raise InteropError("The file holds no test of llama-bench.", "Let it write again, with -o json.")
        runs = [_run(tests, settings[key], left_out) for key, tests in groups.items()]
        left_out.append(LeftOut(what="size of the model", why="it is that of the tensors, not that of the file"))
        version = runs[0].engine_version
        return Imported(tool=self.name, version=version, runs=limited(runs), left_out=once(left_out))


def _run(tests: list[_Test], settings: dict[str, JsonValue], left_out: list[LeftOut]) -> ImportedRun:
    first = tests[0]
    source = Source(LlamaBench.name, _version(first), "engine")
    bits = 8 * first.model_size / first.model_n_params if first.model_size and first.model_n_params else 0.0
    found = source.stated("bits_per_weight", bits or None, n=1)
    seen: set[str] = set()
    for test in tests:
        for one in _speeds(source, test, left_out):
            if one.key in seen:
                left_out.append(LeftOut(what=one.key, why="the same test is there twice; the first was taken"))
            else:
                seen.add(one.key)
                found.append(one)
    _, quantization = split_file_name(first.model_filename)
    times = [test.test_time for test in tests if test.test_time is not None]
    return ImportedRun(
        model=model_name(first.model_filename, None),
        quantization=quantization or _quantization(first.model_type) or NOT_STATED,
        engine="llama.cpp",
        engine_version=_version(first),
        settings=settings,
        machine=", ".join(filter(None, (first.cpu_info, first.gpu_info))),
        parameters=first.model_n_params,
        size_bytes=first.model_size,
        bits_per_weight=bits,
        finished_at=max((time if time.tzinfo else time.replace(tzinfo=UTC) for time in times), default=None),
        facts={"model_type": first.model_type},
        measurements=tuple(found),
    )


def _speeds(source: Source, test: _Test, left_out: list[LeftOut]) -> list[Measurement]:
    depth = f"_d{test.n_depth}" if test.n_depth else ""
    if test.n_prompt and test.n_gen:
        why = "prompt and generation are timed together, which no figure here is"
        left_out.append(LeftOut(what=f"pp{test.n_prompt}+tg{test.n_gen}{depth}", why=why))
        return []
    figure, name = (
        ("engine_prefill_tps", f"pp{test.n_prompt}") if test.n_prompt else ("engine_decode_tps", f"tg{test.n_gen}")
    )
    if test.samples_ts:
        return source.estimated(figure, test.samples_ts, name + depth, "mean", shown="")
    left_out.append(
        LeftOut(what="stddev_ts", why="without the repetitions themselves there is no interval: let it write JSON")
    )
    return source.stated(figure, test.avg_ts, name + depth, reasons=("mean of its repetitions",))


def _entries(data: bytes) -> Iterable[Mapping[str, Any]]:
    start = data.lstrip()[:1]
    if start == b"[":
        value = json_of(data)
    elif start == b"{":
        value = [entry for _, entry in json_lines(data)]
    elif b"INSERT INTO" in data:
        return [row for line in text_of(data).split("\n") if (row := _sql_row(line)) is not None]
    else:
        return csv_rows(data)
    if not all(isinstance(entry, dict) for entry in value):
        raise InteropError("A test is no JSON object.", "Give the output of llama-bench -o json.")
    return list(value)


def _sql_row(line: str) -> dict[str, str] | None:
    """One INSERT of ``-o sql``: all its values are in single quotes, which it does not escape."""
    match = _INSERT.match(line.strip())
    if match is None:
        return None
    names = [name.strip() for name in match[1].split(",")]
    values = match[2].strip()
    cells = values[1:-1].split("', '") if values.startswith("'") and values.endswith("'") else []
    if len(cells) != len(names):
        raise InteropError("An INSERT of the file has other values than columns.", "Let llama-bench write JSON.")
    return dict(zip(names, cells, strict=True))


def _quantization(model_type: str) -> str:
    """``Q4_K_M`` out of ``llama 1B Q4_K - Medium``."""
    match = _TYPE.search(model_type)
    if match is None:
        return ""
    return match[1].upper() + (f"_{match[2][0].upper()}" if match[2] else "")


def _settings(entry: Mapping[str, Any]) -> dict[str, JsonValue]:
    """What was set, by its name here."""
    names = [name for name, value in entry.items() if value not in (None, "") and not _NO_SETTING.fullmatch(name)]
    return {_NAMES.get(name) or clean(name, 60): _scalar(entry[name]) for name in names[:_MAX_SETTINGS]}


def _scalar(value: object) -> JsonValue:
    if isinstance(value, bool | int | float):
        return value
    text = clean(value)
    return int(text) if re.fullmatch(r"-?\d{1,9}", text) else text


def _version(test: _Test) -> str:
    number = "" if test.build_number is None else f"b{test.build_number}"
    return f"{number} {test.build_commit}".strip()[:60]
