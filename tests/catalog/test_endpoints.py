"""Endpoints as artifacts: addresses, names and keys that can be used, and those that cannot."""

from __future__ import annotations

import pytest

from tests.engines.endpoint.misbehaving import MisbehavingServer
from trilemma.catalog.catalog import Catalog
from trilemma.catalog.endpoints import checked_address, endpoint_artifact, key_of, only_model
from trilemma.errors import CatalogError
from trilemma.settings import Settings
from trilemma.store import Store

KEY = "sk-very-secret-0123456789"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (" HTTP://LocalHost:8000/v1/ ", "http://localhost:8000/v1"),
        ("http://a.example:80/v1", "http://a.example/v1"),
        ("https://a.example:443", "https://a.example"),
        ("https://a.example:80/v1", "https://a.example:80/v1"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
    ],
)
def test_one_server_has_one_address(given: str, kept: str) -> None:
    assert checked_address(given) == kept
    assert endpoint_artifact(given, "m").id == endpoint_artifact(kept, "m").id


@pytest.mark.parametrize(
    "given",
    [
        "", "a.example/v1", "ftp://a.example", "file:///etc/passwd", "http://", "http://a b/v1", "http://[::1/v1",
        f"http://user:{KEY}@a.example/v1", f"http://a.example/v1?key={KEY}", f"http://a.example/v1#{KEY}",
        "http://a.example:99999/v1", "http://" + "a" * 64 + ".example/v1", "http://a..example/v1", "http://bücher.example/v1",
    ],
)  # fmt: skip
def test_other_addresses_are_refused_without_repeating_them(given: str) -> None:
    with pytest.raises(CatalogError) as caught:
        checked_address(given)
    assert KEY not in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("value", ["", "  ", "sk-é", "sk\nx"])
def test_a_key_that_no_header_can_carry_is_refused_by_its_variables_name(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINY_KEY", value)
    with pytest.raises(CatalogError, match="TINY_KEY") as caught:
        key_of("TINY_KEY")
    assert "sk" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_the_one_model_of_a_server_is_asked_for_with_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINY_KEY", KEY)
    with MisbehavingServer() as server:
        assert only_model(server.url, "TINY_KEY") == "tiny"
        assert [headers["authorization"] for _, headers, _ in server.requests] == [f"Bearer {KEY}"]
    with pytest.raises(CatalogError, match="cannot be reached"):
        only_model("http://127.0.0.1:9/v1")


def test_a_quantization_said_again_is_a_correction(store: Store, settings: Settings) -> None:
    catalog = Catalog(store, settings)
    first = catalog.add_endpoint("http://127.0.0.1:9/v1", "m")
    assert (first.label, first.size_bytes, first.format) == ("m as served", 0, "endpoint")
    assert catalog.add_endpoint("http://127.0.0.1:9/v1", "m", quantization="AWQ").label == "m AWQ"
    assert catalog.add_endpoint("http://127.0.0.1:9/v1", "m").label == "m AWQ"
    (listing,) = catalog.refresh()
    assert listing.present
    assert catalog.delete(first.id, remove_file=True) is False
