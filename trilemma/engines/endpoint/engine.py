"""The endpoint engine: any server that speaks OpenAI's routes, here or elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, JsonValue

from trilemma.catalog.endpoints import checked_address, key_of
from trilemma.engines.base import Availability, parse_settings
from trilemma.engines.endpoint.settings import EndpointSettings
from trilemma.engines.remote import PowerQuery
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
            EngineError: a setting is wrong.
            CatalogError: an address is unusable, or the variable that should hold a key is not set.
            LoadError: the artifact is no endpoint.
        """
        chosen = parse_settings(EndpointSettings, settings)
        if artifact.format != "endpoint":
            raise LoadError(f"{artifact.label} is no endpoint.", "Choose an engine that loads weights.")
        checked_address(artifact.path)
        self.power_query(settings)
        key_of(chosen.api_key_env)

    def power_query(self, settings: dict[str, JsonValue]) -> PowerQuery | None:
        """The Prometheus query that the settings name.

        Raises:
            EngineError: a setting is wrong, or there are two queries, or one without an address.
            CatalogError: the address of Prometheus is unusable.
        """
        chosen = parse_settings(EndpointSettings, settings)
        if chosen.power_query and chosen.energy_query:
            raise EngineError("There are two queries for the energy.", "Give power_query or energy_query.")
        query = chosen.power_query or chosen.energy_query
        if query and not chosen.prometheus_url:
            raise EngineError("A query needs the address of Prometheus.", "Set prometheus_url.")
        if not query or not chosen.prometheus_url:
            return None
        return PowerQuery(checked_address(chosen.prometheus_url), query, "W" if chosen.power_query else "J")

    def load(self, artifact: Artifact, settings: dict[str, JsonValue]) -> LoadedEndpoint:
        """Connect.

        Raises:
            EngineError, CatalogError: as :meth:`check`.
            LoadError: the server cannot be reached, or does not have the model.
        """
        from trilemma.engines.endpoint.model import LoadedEndpoint  # noqa: PLC0415 (brings an HTTP client)

        chosen = parse_settings(EndpointSettings, settings)
        self.check(artifact, settings)
        return LoadedEndpoint(artifact, chosen, key_of(chosen.api_key_env))
