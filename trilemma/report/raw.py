"""The figures behind a report, as they are kept inside it for other programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from trilemma.analysis.votes import strengths
from trilemma.charts.tables import points_table
from trilemma.figures import FIGURES
from trilemma.records import RunRecord
from trilemma.report.gather import Material
from trilemma.report.parts import rows_of
from trilemma.report.voted import voted_pairs
from trilemma.schema import split_key
from trilemma.store import Store
from trilemma.store.export import DANGEROUS

FORMAT, VERSION = "trilemma-report", 1
_MEASUREMENT_COLUMNS = (
    "run_id", "configuration_id", "repeat", "disturbed", "key", "value", "low", "high", "n", "method", "source",
    "valid",
)  # fmt: skip


def raw_figures(store: Store, material: Material) -> dict[str, Any]:
    """The study, its runs, every configuration's figures and every run's, in base units and full precision.

    Of machine and study nothing is in it that the report does not show: no path, no prompt, no answer.
    """
    columns, rows = rows_of(points_table(material.points, material.keys))
    frame = store.figure_frame(study_id=material.study.id).sort_values(["run_id", "key"], kind="stable")
    measured = rows_of(frame[list(_MEASUREMENT_COLUMNS)])
    names = sorted({split_key(key)[0] for key in frame["key"]} & set(FIGURES))
    points = store.points_of([run.id for run in material.runs])
    found: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "study": material.study.model_dump(mode="json", exclude={"runs_by_state", "created_by"}),
        "view": material.view.model_dump(mode="json"),
        "axes": material.axes,
        "figures": {name: FIGURES[name].model_dump(mode="json") for name in names},
        "configurations": {"columns": columns, "rows": rows},
        "front": {
            str(one): {"probability": None if standing == "unknown" else float(share), "standing": standing.value}
            for one, share, standing in zip(
                material.shown.meta.index, material.odds.probability, material.odds.standing, strict=True
            )
        },
        "measurements": {"columns": measured[0], "rows": measured[1]},
        "runs": [_run(run, points.get(run.id, run.spec.configuration.id)) for run in material.runs],
    }
    if votes := voted_pairs(material):
        strong = strengths(votes) or {}
        found["votes"] = {
            "pairs": [asdict(pair) for pair in votes],
            "strengths": {one: asdict(strength) for one, strength in strong.items()},
        }
    cleaned: dict[str, Any] = material.scrub.deep(found)
    # What a spreadsheet would take for a formula; not a text of anybody's, so not cleaned.
    return cleaned | {"formulas_begin_with": list(DANGEROUS)}


def _run(run: RunRecord, point: str) -> dict[str, Any]:
    kept = {"id", "state", "created_at", "started_at", "finished_at", "reason", "disturbed", "disturbances", "rerun_of",
            "host", "engine_info"}  # fmt: skip
    spec = run.spec
    return run.model_dump(mode="json", include=kept) | {
        "configuration_id": point,
        "repeat": spec.repeat,
        "fingerprint": spec.fingerprint,
        "engine_version": run.engine_version,
    }
