"""The file of a packed study: gzip over JSON lines.

The first line is ``{"format": "trilemma-sample", "version": 1, "study": ..., "artifacts": [...]}``, each further one a
run with everything that it recorded (:class:`trilemma.records.WholeRun`). The same study gives the same bytes.
"""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trilemma.errors import StoreError
from trilemma.records import StudyRecord, WholeRun, WholeStudy
from trilemma.schema import Artifact

FORMAT, VERSION = "trilemma-sample", 1
MAX_BYTES = 256 * 2**20
"""Unpacked; a few kilobytes can be packed so that they unpack to any size."""
PACKAGED = Path(__file__).with_name("sample.jsonl.gz")


def dumps(whole: WholeStudy) -> bytes:
    """The file's content."""
    head = {
        "format": FORMAT,
        "version": VERSION,
        "study": whole.study.model_dump(mode="json", exclude={"created_by"}),
        "artifacts": [artifact.model_dump(mode="json") for artifact in whole.artifacts],
    }
    lines = [_json(head), *(_json(run.model_dump(mode="json", exclude={"run": {"created_by"}})) for run in whole.runs)]
    return gzip.compress("".join(f"{line}\n" for line in lines).encode(), compresslevel=9, mtime=0)


def loads(data: bytes) -> WholeStudy:
    """The study of a file's content.

    Raises:
        StoreError: it is damaged, or of another version.
    """
    try:
        first, *lines = _unpacked(data).decode().rstrip("\n").split("\n")
        head = json.loads(first)
        if (head["format"], head["version"]) != (FORMAT, VERSION):
            raise ValueError(f"it is of the form {head['format']} {head['version']}")
        return WholeStudy(
            study=StudyRecord.model_validate(head["study"]),
            artifacts=tuple(Artifact.model_validate(one) for one in head["artifacts"]),
            runs=tuple(WholeRun.model_validate_json(line) for line in lines),
        )
    except (
        OSError,
        EOFError,
        zlib.error,
        ValueError,
        LookupError,
        TypeError,
        RecursionError,
        ValidationError,
    ) as error:
        raise StoreError(
            f"The packed study cannot be read ({error}).", "Install Trilemma again, or set TRILEMMA_SAMPLE=0."
        ) from error


def _unpacked(data: bytes) -> bytes:
    unpacking = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)  # gzip
    content = unpacking.decompress(data, MAX_BYTES)
    if unpacking.unconsumed_tail or not unpacking.eof:
        raise ValueError("it is cut short, or unpacks to more than it may")
    return content


def packaged() -> WholeStudy:
    """The sample study that comes with the package.

    Raises:
        StoreError: it is missing or damaged.
    """
    try:
        data = PACKAGED.read_bytes()
    except OSError as error:
        raise StoreError(
            f"The sample study is not in this installation ({error.strerror}).",
            "Install Trilemma again, or set TRILEMMA_SAMPLE=0.",
        ) from error
    return loads(data)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
