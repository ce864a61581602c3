"""Who can answer a prompt here, and what this session asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from pages import shared
from pages.parts import entrance
from pages.parts.compare_data import Scene
from trilemma import registry
from trilemma.access.roles import Action
from trilemma.errors import TrilemmaError
from trilemma.schema import Artifact, Configuration, EnergyCoefficients
from trilemma.settings import get_settings
from trilemma.store import Store
from trilemma.tryout.messages import Ask, Contender, Question
from trilemma.tryout.rounds import Round

_ROUNDS, _LATEST = "tryout:rounds", "tryout:latest"
_KEPT = 20


@dataclass(frozen=True)
class Cast:
    """Who can answer here, and why the others cannot, by configuration id."""

    contenders: Mapping[str, Contender]
    missing: Mapping[str, str]
    energy: EnergyCoefficients

    def ask(self, ids: Sequence[str], question: Question) -> Round:
        """Have those answer, in this order. What this session was still having answered elsewhere is stopped.

        Raises:
            AccessError: whoever is here may not.
            StoreError: the try-out cannot be started.
        """
        labels = ", ".join(self.contenders[one].artifact.label for one in ids)
        deed = entrance.guard().doing(Action.TRY_OUT, labels)
        latest: list[Round] = st.session_state.setdefault(_LATEST, [])
        for before in latest:
            before.stop("another prompt was asked")
        contenders = tuple(self.contenders[one] for one in ids)
        with deed:
            # Into the list and not into the session, whose use may end this run of the page: it would be nobody's.
            latest[:] = [Round(get_settings(), Ask(contenders=contenders, question=question, energy=self.energy))]
        return latest[0]


def cast(scene: Scene) -> Cast:
    """Looked at each time: a file may come and go while the page is open."""
    store = shared.get_store()
    energy = EnergyCoefficients()
    found: dict[str, Contender] = {}
    missing: dict[str, str] = {}
    for one, option in scene.names.items():
        try:
            spec = store.run(option.run_id).spec
            energy = spec.energy
            if spec.configuration.id != one:  # not what measured the configuration first
                raise TrilemmaError(
                    "It was measured on another machine, or with another version of the engine, as well; "
                    "a try-out uses what is here."
                )
            found[one] = _contender(store, spec.configuration)
        except TrilemmaError as error:
            missing[one] = str(error)
    return Cast(found, missing, energy)


def _contender(store: Store, configuration: Configuration) -> Contender:
    adapter_id = configuration.adapter_id
    artifact = _here(store, configuration.artifact_id)
    adapter = _here(store, adapter_id) if adapter_id else None
    engine = registry.load("trilemma.engines", configuration.engine)().availability()
    if not engine.available:
        raise TrilemmaError(engine.detail, engine.remedy)
    return Contender(configuration=configuration, artifact=artifact, adapter=adapter)


def _here(store: Store, artifact_id: str) -> Artifact:
    """Weights that this machine has.

    Raises:
        TrilemmaError: it has not.
    """
    weights = store.artifact(artifact_id)
    if weights.format != "endpoint" and not (weights.path and Path(weights.path).exists()):
        raise TrilemmaError("Its weights are not on this machine.", "Add them on the Models page.")
    return weights


@dataclass(frozen=True)
class Shown:
    """A round of this session, with what its configurations were called when it was asked."""

    round: Round
    study: str
    names: Mapping[str, str]


def rounds(study: str) -> list[Shown]:
    """This session's rounds of a study, the newest first."""
    return [shown for shown in st.session_state.get(_ROUNDS, []) if shown.study == study]


def remember(shown: Shown) -> None:
    """Keep a round for as long as the session lasts, of many the newest."""
    st.session_state[_ROUNDS] = [shown, *st.session_state.get(_ROUNDS, [])][:_KEPT]
