"""The endpoint engine: any server that speaks OpenAI's routes, here or elsewhere."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, JsonValue

from trilemma.catalog.endpoints import checked_address
from trilemma.engines.base import Availability, parse_settings
from trilemma.engines.endpoint.settings import EndpointSettings
from trilemma.errors import EngineError, LoadError
from trilemma.schema import Artifact

if TYPE_CHECKING:
    from trilemma.engines.endpoint.model import LoadedEndpoint


class Endpoint:
    """Asks a server over HTTP; what it runs on, and how, is the server's affair."""

    name: ClassVar[str] = "endpoint"
    formats: ClassVar[tuple[str, ...]] = ("endpoint",)
    settings_type: ClassVar[type[BaseModel]] = EndpointSettings

    def availability(self) -> Availability:
        """Everywhere; whether a server can be reached shows when it is asked."""
        return Availability(True, "any server with OpenAI's routes")

    def check(self, artifact: Artifact, settings: dict[str, JsonValue]) -> None:
        """Refuse what cannot work, without asking the server.

        Raises:
            EngineError: a setting is wrong, or a variable that should hold a key is not set.
            LoadError: the artifact is no endpoint.
        """
        chosen = parse_settings(EndpointSettings, settings)
        if artifact.format != "endpoint":
            raise LoadError(f"{artifact.label} is no endpoint.", "Choose an engine that loads weights.")
        checked_address(artifact.path)
        if chosen.power_query and not chosen.prometheus_url:
            raise EngineError("A power query needs the address of Prometheus.", "Set prometheus_url.")
        if chosen.prometheus_url:
            checked_address(chosen.prometheus_url)
        if chosen.api_key_env and not os.environ.get(chosen.api_key_env):
            raise EngineError(
                f"The environment variable {chosen.api_key_env} is not set.",
                "Set it where Trilemma's worker runs, or take api_key_env off.",
            )

    def load(self, artifact: Artifact, settings: dict[str, JsonValue]) -> LoadedEndpoint:
        """Connect.

        Raises:
            EngineError: as :meth:`check`.
            LoadError: the server cannot be reached, or does not have the model.
        """
        from trilemma.engines.endpoint.model import LoadedEndpoint  # noqa: PLC0415 (brings an HTTP client)

        chosen = parse_settings(EndpointSettings, settings)
        self.check(artifact, settings)
        return LoadedEndpoint(artifact, chosen, os.environ.get(chosen.api_key_env or "", "").strip())
