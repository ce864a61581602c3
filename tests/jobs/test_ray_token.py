"""The secret that lets machines into a Ray cluster."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from trilemma.errors import RunError
from trilemma.jobs import ray_token
from trilemma.settings import Settings


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in ray_token.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return Settings(home=tmp_path)


def test_it_is_made_once_and_for_its_owner_alone(settings: Settings) -> None:
    ray_token.make(settings)
    path = settings.ray_token_path
    made = path.read_text()
    assert len(made) >= 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ray_token.environment(settings) == {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(path)}
    ray_token.make(settings)
    assert path.read_text() == made


def test_two_clusters_have_two(settings: Settings, tmp_path: Path) -> None:
    other = settings.model_copy(update={"ray_token_file": tmp_path / "other"})
    ray_token.make(settings)
    ray_token.make(other)
    assert settings.ray_token_path.read_text() != other.ray_token_path.read_text()


def test_without_it_nobody_begins(settings: Settings) -> None:
    with pytest.raises(RunError, match="token is not at") as caught:
        ray_token.environment(settings)
    assert "TRILEMMA_RAY_TOKEN_FILE" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("RAY_AUTH_MODE", "disabled", {}),
        ("RAY_AUTH_MODE", "token", {}),
        ("RAY_AUTH_TOKEN", "x", {"RAY_AUTH_MODE": "token"}),
        ("RAY_AUTH_TOKEN_PATH", "/x", {"RAY_AUTH_MODE": "token"}),
    ],
)
def test_what_rays_own_variables_say_holds(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: dict[str, str]
) -> None:
    monkeypatch.setenv(name, value)
    ray_token.make(settings)
    assert not settings.ray_token_path.exists()
    assert ray_token.environment(settings) == expected
