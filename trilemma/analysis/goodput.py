"""Goodput for limits that are set afterwards, from the requests as they are stored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from trilemma.analysis.load import Curve, LoadPoint
from trilemma.analysis.subjects import level_of
from trilemma.records import RequestRecord
from trilemma.schema import LatencyLimits
from trilemma.workloads import latency


def goodput_curve(requests: Iterable[RequestRecord], limits: LatencyLimits) -> dict[str, Curve]:
    """By workload, goodput (requests a second) and its share at each level of load that held, least load first.

    As defined for the figure ``goodput``: of the requests that ended inside the steady window, those within ``limits``.
    """
    by_subject: defaultdict[str, list[RequestRecord]] = defaultdict(list)
    for request in requests:
        by_subject[request.workload].append(request)
    curves: dict[str, Curve] = {}
    for subject, records in by_subject.items():
        level = level_of(subject)
        if level is None:
            continue
        users = int(level.value) if level.kind == "users" else 1
        window = latency.steady_window(records, users, open_loop=level.kind == "rate")
        if window is None:
            continue
        kept, ended = latency.within(records, window, limits)
        seconds = (window[1] - window[0]) / 1e9
        values = {"goodput": kept / seconds, "goodput_share": kept / ended if ended else 0.0}
        curves.setdefault(level.workload, []).append(LoadPoint(level, values))
    return {name: sorted(points, key=lambda point: point.level) for name, points in curves.items()}
