"""Which engine runs a study's models: those that can be used here, and for the others why not and what to type."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from pages import shared
from pages.parts.devices import in_cluster
from trilemma import registry
from trilemma.engines.base import AdaptingEngine, Engine
from trilemma.schema import Artifact


def choose_engine(chosen: Sequence[Artifact]) -> tuple[str, Engine, bool]:
    """Show the engines; the name and class of the one chosen, and whether it can be used here or in a cluster.

    Until somebody chooses, it is the first that is here and runs what was chosen in step 1.
    """
    engines: dict[str, Engine] = {name: registry.load("trilemma.engines", name)() for name in _names()}
    here = {name: engine.availability() for name, engine in engines.items()}
    formats = {artifact.format for artifact in chosen}
    fitting = [name for name, engine in engines.items() if here[name].available and formats <= set(engine.formats)]
    first = fitting[0] if fitting else next(iter(engines))
    name = str(
        st.segmented_control("Engine", [*engines], default=first, required=True, key="engine", bind="query-params")
    )
    for other, (available, detail, remedy) in here.items():
        if not available:
            colour = "red" if other == name and not in_cluster() else "gray"
            st.caption(f":{colour}[:material/block: {shared.plain(f'{other}: {detail} {remedy}')}]")
    if not here[name].available and in_cluster():
        st.caption(
            f":material/info: {shared.plain(name)} is measured on machines of the cluster that have it, in any version."
        )
    return name, engines[name], here[name].available or in_cluster()


def _names() -> list[str]:
    """llama.cpp, which is always installed, first."""
    return sorted(registry.names("trilemma.engines"), key=lambda name: (name != "llama.cpp", name))


def choose_adapters(engine: Engine, adapters: Sequence[Artifact]) -> list[Artifact]:
    """The LoRA adapters to measure beside each model alone; nothing is shown where there are none for this engine."""
    formats = engine.adapter_formats if isinstance(engine, AdaptingEngine) else ()
    usable = {adapter.id: adapter for adapter in adapters if adapter.format in formats}
    if not usable:
        return []
    picked = st.multiselect(
        "Adapters", [*usable], format_func=lambda key: usable[key].label, key="adapters", bind="query-params",
        placeholder="none", help="Each model is measured without an adapter, and once more with each of these.",
    )  # fmt: skip
    return [usable[key] for key in picked]
