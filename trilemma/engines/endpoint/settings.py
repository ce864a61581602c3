"""What can be set on the endpoint engine. The New study page is drawn from this type's JSON schema."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class EndpointSettings(BaseModel):
    """Settings of one configuration that somebody else's server runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    api: Literal["completions", "chat"] = Field(
        default="chat",
        title="Route",
        description="/v1/chat/completions, which puts the server's chat template around it, or /v1/completions.",
        json_schema_extra={"unit": ""},
    )
    api_key_env: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$",
        title="Key from the variable",
        description="NAME of the environment variable that holds the key. The key itself is never written anywhere.",
        json_schema_extra={"unit": "", "not_from_links": True},
    )
    context: int | None = Field(
        default=None,
        ge=8,
        title="Context",
        description="Tokens that prompt and answer may take together; empty for what the server says, else no limit.",
        json_schema_extra={"unit": "tokens"},
    )
    slots: int = Field(
        default=64,
        ge=1,
        le=4096,
        title="Connections",
        description="Requests sent at once at most; more wait here.",
        json_schema_extra={"unit": "requests"},
    )
    timeout_s: float = Field(
        default=120.0,
        gt=0,
        le=3600,
        title="Silence",
        description="A request whose server says nothing for this long has failed.",
        json_schema_extra={"unit": "s"},
    )
    retries: int = Field(
        default=4,
        ge=0,
        le=20,
        title="Retries",
        description="How often a request is sent again that got no token yet: after 429, 5xx or no connection, with "
        "growing pauses, or after as long as the server asks for. The pauses count as waiting.",
        json_schema_extra={"unit": ""},
    )
    port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        title="Meter the port",
        description="Port of a server on this machine whose memory, CPU and energy are metered; empty for the "
        "address's own where that is this machine. Behind a proxy, give the port of the server itself.",
        json_schema_extra={"unit": ""},
    )
    pid: int | None = Field(
        default=None,
        ge=1,
        title="Meter the process",
        description="Id of the server's process on this machine, where its port does not tell: behind a proxy, or in a "
        "container.",
        json_schema_extra={"unit": ""},
    )
    input_price: float | None = Field(
        default=None,
        ge=0,
        title="Price of input",
        description="What a million prompt tokens cost, USD.",
        json_schema_extra={"unit": "USD"},
    )
    output_price: float | None = Field(
        default=None,
        ge=0,
        title="Price of output",
        description="What a million output tokens cost, USD.",
        json_schema_extra={"unit": "USD"},
    )
    power_query: str | None = Field(
        default=None,
        max_length=2000,
        title="Power query",
        description="A Prometheus query whose one value is the server's power, W. Needs the Prometheus address.",
        json_schema_extra={"unit": "", "not_from_links": True},
    )
    energy_query: str | None = Field(
        default=None,
        max_length=2000,
        title="Energy query",
        description="Instead: a Prometheus query whose one value counts the server's energy so far, J.",
        json_schema_extra={"unit": "", "not_from_links": True},
    )
    prometheus_url: str | None = Field(
        default=None,
        max_length=2000,
        title="Prometheus address",
        description="Such as http://127.0.0.1:9090; asked three times a second during the run.",
        json_schema_extra={"unit": "", "not_from_links": True},
    )
