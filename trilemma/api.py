"""The stable Python interface: what was measured, read-only, as pandas or polars frames. See docs/python-api.md."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from trilemma.errors import StoreError, TrilemmaError
from trilemma.figures import FIGURES
from trilemma.schema import split_key
from trilemma.settings import get_settings
from trilemma.store import Store, open_store

if TYPE_CHECKING:
    pass

Frame = Literal["pandas", "polars"]

_STUDIES = ("id", "name", "created_at", "runs", "imported")
_RUNS = (
    "id", "study_ids", "state", "model", "quantization", "bits_per_weight", "engine", "engine_version", "settings",
    "adapter", "emulated", "repeat", "imported", "disturbed", "finished_at", "machine",
    "configuration_id", "artifact_id",
)  # fmt: skip
_MEASUREMENTS = (
    "run_id", "key", "figure", "statistic", "subject", "value", "low", "high", "n", "unit", "method", "source", "scope",
    "valid", "reasons", "definition_version",
)  # fmt: skip
_REQUESTS = (
    "workload", "index", "warmup", "prompt_tokens", "output_tokens", "ttft_s", "tpot_s", "e2e_s", "error",
)  # fmt: skip
_ANSWERS = ("suite", "index", "item_id", "prompt", "answer", "expected", "scores")


class Results:
    """Everything that a store holds. A context manager; :func:`trilemma.open` makes one.

    Every method gives a frame: pandas unless ``frame="polars"``. Values are in base units (seconds, bytes, joules);
    lists and objects are JSON texts. Each figure says by ``method`` whether it was measured, modelled or imported.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def studies(self, *, frame: Frame = "pandas") -> Any:
        """One row a study, the newest first: id, name, created_at, runs (how many), imported."""
        rows = [
            {
                "id": one.id,
                "name": one.spec.name,
                "created_at": one.created_at,
                "runs": sum(one.runs_by_state.values()),
                "imported": one.imported,
            }
            for one in self._store.studies()
        ]
        return _frame(rows, _STUDIES, frame)

    def runs(self, study: str | None = None, *, frame: Frame = "pandas") -> Any:
        """One row a run, of one study (its id or name) or, without one, of all that were measured here or imported.

        Raises:
            TrilemmaError: there is no such study.
        """
        from trilemma.planning.words import machine_words  # noqa: PLC0415 (imports what only planning needs)

        artifacts = {one.id: one for one in self._store.artifacts(forgotten=True)}
        runs, rows = self._runs(study), []
        points = self._store.points_of([run.id for run in runs])
        for run in runs:
            configuration, weights = run.spec.configuration, artifacts.get(run.spec.configuration.artifact_id)
            adapter = artifacts.get(configuration.adapter_id or "")
            rows.append(
                {
                    "id": run.id,
                    "study_ids": _json(list(run.study_ids)),
                    "state": run.state.value,
                    "model": weights.model if weights else None,
                    "quantization": weights.quantization if weights else None,
                    "bits_per_weight": weights.bits_per_weight or None if weights else None,
                    "engine": configuration.engine,
                    "engine_version": run.engine_version,
                    "settings": _json(configuration.settings),
                    "adapter": adapter.label if adapter else configuration.adapter_id,
                    "emulated": configuration.profile.name if configuration.profile else None,
                    "repeat": run.spec.repeat,
                    "imported": run.imported,
                    "disturbed": run.disturbed,
                    "finished_at": run.finished_at,
                    "machine": machine_words(run.host) or str(configuration.settings.get("machine", "")) or None,
                    "configuration_id": points.get(run.id, configuration.id),
                    "artifact_id": configuration.artifact_id,
                }
            )
        return _frame(rows, _RUNS, frame)

    def measurements(
        self, study: str | None = None, *, figure: str | None = None, run: str | None = None, frame: Frame = "pandas"
    ) -> Any:
        """One row a figure of a run; of one study or one run, and of one figure (``ttft_s``), if they are named.

        A figure that cannot be known has no value, ``valid`` is then false and ``reasons`` says why.

        Raises:
            TrilemmaError: there is no such study, run or figure.
        """
        if figure is not None and figure not in FIGURES:
            raise TrilemmaError(f"There is no figure named {figure!r}.", "docs/figures.md lists them.")
        ids = [one.id for one in self._runs(study)] if run is None else [self._store.run(run).id]
        rows = [
            {
                "run_id": run_id,
                "key": one.key,
                "figure": one.figure,
                "statistic": one.statistic,
                "subject": one.subject,
                "value": one.value,
                "low": one.low,
                "high": one.high,
                "n": one.n,
                "unit": FIGURES[one.figure].unit if one.figure in FIGURES else "",
                "method": one.provenance.method.value,
                "source": one.provenance.source,
                "scope": one.provenance.scope,
                "valid": one.provenance.valid,
                "reasons": _json(list(one.provenance.reasons)),
                "definition_version": one.definition_version,
            }
            for run_id in ids
            for one in self._store.measurements(run_id)
            if figure in (None, split_key(one.key)[0])
        ]
        return _frame(rows, _MEASUREMENTS, frame)

    def samples(self, run: str, *, frame: Frame = "pandas") -> Any:
        """One row a reading of the meters: time_ns, phase, and a column a channel.

        Raises:
            NotFoundError: there is no such run.
        """
        found = self._store.samples(self._store.run(run).id)
        channels = sorted({channel for one in found for channel in one.values})
        rows = [{"time_ns": one.time_ns, "phase": one.phase.value, **one.values} for one in found]
        return _frame(rows, ("time_ns", "phase", *channels), frame)

    def requests(self, run: str, *, frame: Frame = "pandas") -> Any:
        """One row a request, with its latencies; those of the warm-up are marked.

        Raises:
            NotFoundError: there is no such run.
        """
        from trilemma.workloads import latency  # noqa: PLC0415

        rows = []
        for one in self._store.requests(self._store.run(run).id):
            timed = len(one.token_times_ns) >= 2 and not one.error
            rows.append(
                {
                    "workload": one.workload,
                    "index": one.index,
                    "warmup": one.warmup,
                    "prompt_tokens": one.prompt_tokens,
                    "output_tokens": one.output_tokens,
                    "ttft_s": latency.ttft_s(one) if one.token_times_ns else None,
                    "tpot_s": latency.tpot_s(one) if timed else None,
                    "e2e_s": latency.e2e_s(one) if one.token_times_ns else None,
                    "error": one.error,
                }
            )
        return _frame(rows, _REQUESTS, frame)

    def answers(self, run: str, *, frame: Frame = "pandas") -> Any:
        """One row an item of a suite, as asked, answered and scored (``scores`` is JSON).

        Raises:
            NotFoundError: there is no such run.
        """
        rows = [
            {**{name: getattr(one, name) for name in _ANSWERS}, "scores": _json(one.scores)}
            for one in self._store.answers(self._store.run(run).id)
        ]
        return _frame(rows, _ANSWERS, frame)

    def close(self) -> None:
        """Close the database."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _runs(self, study: str | None) -> Sequence[Any]:
        if study is not None:
            return self._store.runs(self._study_id(study))
        return self._store.all_runs()

    def _study_id(self, text: str) -> str:
        studies = self._store.studies()
        for one in studies:
            if text in (one.id, one.spec.name):
                return one.id
        raise TrilemmaError(f"There is no study {text!r}.", "studies() lists them.")


def open_results(home_or_url: str | Path | None = None) -> Results:
    """Open a store to read; see :func:`trilemma.open`."""
    if home_or_url is None:
        url = get_settings().database_url
    elif "://" in str(home_or_url):
        url = str(home_or_url)
    else:
        url = f"sqlite:///{Path(home_or_url).expanduser() / 'trilemma.db'}"
    file = Path(url.removeprefix("sqlite:///"))
    if url.startswith("sqlite:///") and not file.is_file():
        raise StoreError(
            f"There is no database in {file.parent}.", "Give the data folder of Trilemma, or measure first."
        )
    return Results(open_store(url).reading())


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], kind: Frame) -> Any:
    import pandas as pd  # noqa: PLC0415 (slow to import)

    made = pd.DataFrame([dict(row) for row in rows], columns=list(columns))
    if kind == "pandas":
        return made
    if kind != "polars":
        raise TrilemmaError(f"{kind!r} is no kind of frame.", 'Say frame="pandas" or frame="polars".')
    try:
        import polars as pl  # noqa: PLC0415
    except ImportError:
        raise TrilemmaError("polars is not installed.", "pip install 'trilemma[polars]'") from None
    return pl.from_pandas(made)
