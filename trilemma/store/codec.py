"""How time series are packed.

A chunk of samples (codec ``zlib-json-1``) is zlib-compressed JSON, one column a channel::

    {"time_ns": [first, difference, difference, ...],
     "phase": [["load", 12], ["warmup", 30], ...],          run lengths
     "values": {"rss_bytes": [1.0, null, 2.0, ...], ...}}   null where the sample lacks the channel

The token times of a request are JSON: nanoseconds from submission to the first token, then from token to token.
"""

from __future__ import annotations

import itertools
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence

from trilemma.errors import StoreError
from trilemma.records import Sample
from trilemma.schema import Phase

CODEC = "zlib-json-1"


def deltas(times: Iterable[int], start: int = 0) -> list[int]:
    """Differences of successive ``times``, the first one from ``start``; undone by :func:`times_of`."""
    return [b - a for a, b in itertools.pairwise(itertools.chain((start,), times))]


def times_of(differences: Iterable[int], start: int = 0) -> tuple[int, ...]:
    """Times out of their :func:`deltas`."""
    return tuple(itertools.accumulate(differences, initial=start))[1:]


def pack_samples(samples: Sequence[Sample]) -> bytes:
    """One chunk."""
    channels = sorted({channel for sample in samples for channel in sample.values})
    document = {
        "time_ns": deltas(sample.time_ns for sample in samples),
        "phase": [[phase.value, len(list(group))] for phase, group in itertools.groupby(s.phase for s in samples)],
        "values": {channel: [sample.values.get(channel) for sample in samples] for channel in channels},
    }
    return zlib.compress(json.dumps(document, separators=(",", ":")).encode(), level=6)


def unpack_samples(data: bytes, codec: str) -> Iterator[Sample]:
    """The samples of a chunk, in order.

    Raises:
        StoreError: the codec is unknown or the chunk is damaged.
    """
    if codec != CODEC:
        raise StoreError(f"Samples are packed as {codec!r}, which this version cannot read.", "Upgrade Trilemma.")
    try:
        document = json.loads(zlib.decompress(data))
    except (zlib.error, ValueError) as error:
        raise StoreError(f"A chunk of samples is damaged ({error}).", "Measure the run again.") from error
    phases = itertools.chain.from_iterable(itertools.repeat(Phase(name), count) for name, count in document["phase"])
    names = list(document["values"])
    columns = zip(*document["values"].values(), strict=True) if names else itertools.repeat(())
    for time_ns, phase, row in zip(times_of(document["time_ns"]), phases, columns, strict=False):
        values = {name: value for name, value in zip(names, row, strict=True) if value is not None}
        yield Sample.model_construct(time_ns=time_ns, phase=phase, values=values)
