"""Metadata services of clouds: refused in every spelling, by their names, and where a connection leads to one."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import pytest

from tests.engines.endpoint.misbehaving import MisbehavingServer
from trilemma.catalog import addresses, endpoints
from trilemma.catalog.endpoints import checked_address, served_models
from trilemma.engines.base import GenerationRequest
from trilemma.engines.endpoint import model
from trilemma.engines.endpoint.settings import EndpointSettings
from trilemma.engines.remote import PowerQuery
from trilemma.errors import CatalogError, MeterError
from trilemma.meters.base import Target
from trilemma.meters.prometheus import PrometheusMeter
from trilemma.schema import EnergyCoefficients

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254", "169.254.170.2", "2852039166", "0xA9FEA9FE", "0251.0376.0251.0376", "169.254.43518",
        "169.254.169.254.",
        "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::]", "[::a9fe:a9fe]",
        "[fd00:42::42]", "[fd00:a9fe:a9fe::1]", "[fd00:c1::a9fe:a9fe]", "[fd00:100::100:200]",
        "[fd00:ec2::254]", "[fe80::a9fe:a9fe%eth0]", "100.100.100.200", "168.63.129.16", "metadata.google.internal",
        "METADATA.google.internal.", "instance-data",
    ],
)  # fmt: skip
def test_no_spelling_gets_through(host: str) -> None:
    with pytest.raises(CatalogError, match="metadata"):
        checked_address(f"http://{host}:80/latest/meta-data")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "192.168.1.7", "10.0.0.3", "[::1]", "[fd12:3456::1]",
"[fe80::1]",
                                  "a.example", "metadata.example"])  # fmt: skip
def test_this_machine_and_its_network_may_be_measured(host: str) -> None:
    assert checked_address(f"http://{host}:8000/v1")


def resolves_to(monkeypatch: pytest.MonkeyPatch, *found: str) -> None:
    def look_up(host: str, port: Any, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 0)) for one in found]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


def test_a_name_that_means_one_is_refused_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    resolves_to(monkeypatch, "10.0.0.7", "169.254.169.254")
    with pytest.raises(CatalogError, match="metadata"):
        served_models("http://rebound.example/v1")
    meter = PrometheusMeter(PowerQuery("http://rebound.example:9090", "power"))
    meter.start(Target(None, EnergyCoefficients()))
    with pytest.raises(MeterError, match="metadata"):
        meter.read(0.1)


def test_whom_a_connection_reaches_is_looked_at_before_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that meant something else when it was looked up."""
    with MisbehavingServer() as server:
        assert served_models(server.url) == ["tiny"]
        monkeypatch.setattr(addresses, "_METADATA", LOOPBACK)
        for module in (endpoints, model):
            monkeypatch.setattr(module, "refuse_metadata", lambda url: None)
        named = server.url.replace("127.0.0.1", "localhost")
        with pytest.raises(CatalogError, match="metadata"):
            served_models(named)
        artifact = endpoints.endpoint_artifact(named, "tiny")
        with (
            pytest.raises(CatalogError, match="metadata"),
            model.LoadedEndpoint(artifact, EndpointSettings(retries=0)) as loaded,
        ):
            loaded.generate(GenerationRequest((), 4, text="hello"))
