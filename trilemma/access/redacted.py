"""The store as those see it who may know results, and not the machine that they come from."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trilemma.records import AnswerRecord, RequestRecord, RunRecord, StudyRecord
from trilemma.schema import Artifact, Configuration, Measurement, RunState, SuiteSpec, content_id
from trilemma.scrub import Scrubber
from trilemma.store import Store

if TYPE_CHECKING:
    import pandas as pd

NO_LOG = "Logs are shown to analysts."
_QUESTION = {"choices", "contexts", "calls", "kl", "logprobs"}
"""Parts of an answer's detail that are the question's or the model's own; a path in them is none of this machine's."""
_SERVER = {"api_key_env", "judge_key_env", "judge_url", "prometheus_url", "power_query", "energy_query", "pid", "port"}
"""Settings and options that name things of the server; a query names the machines that Prometheus asks."""
_METERED = {"address", "metered_process", "metering"}
"""What an engine says of itself that names them."""


class RedactedStore(Store):
    """Everything that :class:`~trilemma.store.Store` reads, without paths, addresses, logs and people's names.

    It is asked for by role, so no page need think of it. Its ``url`` differs from the store's, so that nothing which
    was read by others and is held in memory is taken for its own.
    """

    _known: Scrubber | None = None

    @property
    def url(self) -> str:
        """A name, not where it is."""
        return f"redacted:{content_id(super().url)}"

    @property
    def _scrub(self) -> Scrubber:
        # Once a store, of which a page makes a new one each time: what looks like a path is cut at any rate.
        if self._known is None:
            artifacts = [one for one in Store.artifacts(self, forgotten=True) if one.path]
            paths = [one.path for one in artifacts if one.format != "endpoint"]
            addresses = [one.path for one in artifacts if one.format == "endpoint"]
            self._known = Scrubber([*paths, f"{Path.home()}/x", f"{Path.cwd()}/x"], addresses)
        return self._known

    def artifacts(self, *, forgotten: bool = False) -> list[Artifact]:
        """As in the store."""
        return [self._artifact(one) for one in super().artifacts(forgotten=forgotten)]

    def artifact(self, artifact_id: str) -> Artifact:
        """As in the store."""
        return self._artifact(super().artifact(artifact_id))

    def find_artifact(self, prefix_or_label: str) -> Artifact:
        """As in the store."""
        return self._artifact(super().find_artifact(prefix_or_label))

    def models(self) -> list[str]:
        """As in the store."""
        return list(dict.fromkeys(map(self._scrub.text, super().models())))

    def studies(self) -> list[StudyRecord]:
        """As in the store."""
        return [self._study(one) for one in super().studies()]

    def study(self, study_id: str) -> StudyRecord:
        """As in the store."""
        return self._study(super().study(study_id))

    def run(self, run_id: str) -> RunRecord:
        """As in the store."""
        return self._run(super().run(run_id))

    def runs(
        self,
        study_id: str | None = None,
        states: Collection[RunState] | None = None,
        limit: int | None = None,
        newest_first: bool = False,
        artifact_id: str | None = None,
    ) -> list[RunRecord]:
        """As in the store."""
        return [self._run(one) for one in super().runs(study_id, states, limit, newest_first, artifact_id)]

    def requests(self, run_id: str) -> list[RequestRecord]:
        """As in the store."""
        found, scrub = super().requests(run_id), self._scrub
        return [one.model_copy(update={"error": scrub.text(one.error)}) if one.error else one for one in found]

    def answers(self, run_id: str, suite: str | None = None) -> list[AnswerRecord]:
        """As in the store."""
        scrub = self._scrub
        return [
            one.model_copy(
                update={"detail": {k: v if k in _QUESTION else scrub.deep(v) for k, v in one.detail.items()}}
            )
            for one in super().answers(run_id, suite)
        ]

    def measurements(self, run_id: str) -> list[Measurement]:
        """As in the store."""
        scrub, found = self._scrub, []
        for one in super().measurements(run_id):
            p = one.provenance
            texts = {"source": scrub.text(p.source), "scope": scrub.text(p.scope),
                     "reasons": tuple(map(scrub.text, p.reasons))}  # fmt: skip
            found.append(one.model_copy(update={"provenance": p.model_copy(update=texts)}))
        return found

    def figure_frame(
        self, keys: Sequence[str] | None = None, study_id: str | None = None, state: RunState = RunState.DONE,
        among: pd.DataFrame | None = None,
    ) -> pd.DataFrame:  # fmt: skip
        """As in the store."""
        frame = super().figure_frame(keys, study_id, state, among)
        frame["source"] = frame["source"].map({text: self._scrub.text(text) for text in frame["source"].unique()})
        return frame

    def run_frame(self, study_id: str | None = None) -> pd.DataFrame:
        """As in the store."""
        frame = super().run_frame(study_id)
        texts = {text: json.dumps(self._settings(json.loads(text)), sort_keys=True) for text in set(frame["settings"])}
        frame["settings"] = frame["settings"].map(texts)
        models = {name: self._scrub.text(name) for name in frame["model"].dropna().unique()}
        frame["model"] = frame["model"].map(lambda name: models.get(name, name))  # none where it is forgotten
        return frame

    def _settings(self, settings: dict[str, Any]) -> dict[str, Any]:
        return {name: self._scrub.deep(value) for name, value in settings.items() if name not in _SERVER}

    def _configuration(self, configuration: Configuration) -> Configuration:
        return configuration.model_copy(update={"settings": self._settings(configuration.settings)})

    def _suites(self, suites: tuple[SuiteSpec, ...]) -> tuple[SuiteSpec, ...]:
        return tuple(one.model_copy(update={"options": self._settings(one.options)}) for one in suites)

    def _artifact(self, artifact: Artifact) -> Artifact:
        text = self._scrub.text  # what an endpoint or an adapter's file names may be a path
        parents = (one.model_copy(update={"parent_name": text(one.parent_name)}) for one in artifact.derivations)
        update = {"path": "", "model": text(artifact.model), "source": text(artifact.source)}
        return artifact.model_copy(update=update | {"derivations": tuple(parents)})

    def _study(self, study: StudyRecord) -> StudyRecord:
        configurations = tuple(map(self._configuration, study.spec.configurations))
        update = {"configurations": configurations, "suites": self._suites(study.spec.suites)}
        spec = study.spec.model_copy(update=update)
        return study.model_copy(update={"spec": spec, "created_by": None})

    def _run(self, run: RunRecord) -> RunRecord:
        scrub = self._scrub
        changed = {
            "configuration": self._configuration(run.spec.configuration),
            "suites": self._suites(run.spec.suites),
        }
        spec = run.spec.model_copy(update=changed)
        update = {
            "spec": spec,
            "note": scrub.text(run.note),
            "reason": scrub.text(run.reason),
            "log_tail": NO_LOG if run.log_tail else "",
            "disturbances": tuple(map(scrub.text, run.disturbances)),
            "engine_info": scrub.deep({name: one for name, one in run.engine_info.items() if name not in _METERED}),
            "created_by": None,
        }
        return run.model_copy(update=update)
