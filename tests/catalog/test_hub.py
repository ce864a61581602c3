from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trilemma.catalog import hub_transfer
from trilemma.catalog.hub import HubSource
from trilemma.errors import CatalogError, DiskFullError, HubError
from trilemma.schema import Relation
from trilemma.settings import Settings

BIG = os.urandom(2**20) * 12
REPO = "someone/Tiny-1M-GGUF"


@pytest.fixture
def source(settings: Settings) -> HubSource:
    return HubSource(settings)


@pytest.fixture
def folder(settings: Settings) -> Path:
    return settings.artifacts_dir / "hub"


def refusal(call: Callable[[], object]) -> HubError:
    with pytest.raises(HubError) as caught:
        call()
    assert caught.value.hint
    return caught.value


def leftovers(folder: Path) -> list[str]:
    return [p.name for p in folder.rglob("*") if p.is_file()]


def test_a_search_finds_files_the_most_downloaded_first(hub: Any, source: HubSource) -> None:
    hub.add("a/Tiny-1M-GGUF", {"Tiny-1M-Q4_K_M.gguf": b"x", "README.md": b""}, downloads=1)
    hub.add("b/tiny-other", {"ggml-model-Q8_0.gguf": b"x"}, downloads=9, card={"license": "mit"})
    hub.add("c/unrelated", {"x-F16.gguf": b"x"})
    offers = list(source.offers("tiny"))
    assert [o.reference for o in offers] == ["b/tiny-other/ggml-model-Q8_0.gguf", "a/Tiny-1M-GGUF/Tiny-1M-Q4_K_M.gguf"]
    assert [(o.model, o.quantization, o.licence) for o in offers] == [
        ("Tiny-other", "Q8_0", "mit"),
        ("Tiny-1M", "Q4_K_M", None),
    ]
    assert not any(o.local for o in offers)
    assert [kind for r in hub.requests for kind in ("gguf", "safetensors") if f"filter={kind}" in r.path] == [
        "gguf",
        "safetensors",
    ]


@pytest.mark.parametrize("answer", [None, {"models": []}, ["x"], [{"id": "a/b", "downloads": "many"}]])
def test_a_search_that_is_answered_with_something_else_says_so(
    hub: Any, source: HubSource, monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    handler = sys.modules[type(hub).__module__]._Handler
    monkeypatch.setattr(handler, "_search", lambda self, _: self._json(answer))
    error = refusal(lambda: source.search("tiny"))
    assert "tiny" in str(error)
    assert source.endpoint in str(error)


def test_nothing_is_asked_without_a_query(hub: Any, source: HubSource) -> None:
    assert list(source.offers("  ")) == []
    assert hub.requests == []


def test_a_repository_lists_sizes_quantizations_and_ancestry(hub: Any, source: HubSource) -> None:
    files = {
        "Tiny-1M-Q4_K_M.gguf": b"x" * 10,
        "sub/Tiny-1M-f16.gguf": b"x" * 30,
        "mmproj-F16.gguf": b"",
        "Big-Q8_0-00001-of-00002.gguf": b"",
        "../escape-Q8_0.gguf": b"",
        "config.json": b"",
    }
    card = {"license": "other", "license_name": "gemma", "base_model": "org/Tiny-1M"}
    hub.add(REPO, files, card=card, tags=["base_model:org/Tiny-1M", "base_model:quantized:org/Tiny-1M"])
    for query in (REPO, f"{hub.url}/{REPO}/"):
        offers = list(source.offers(query))
        assert [(o.reference, o.quantization, o.size_bytes) for o in offers] == [
            (f"{REPO}/Tiny-1M-Q4_K_M.gguf", "Q4_K_M", 10),
            (f"{REPO}/sub/Tiny-1M-f16.gguf", "F16", 30),
        ]
        assert {o.licence for o in offers} == {"gemma"}
        (derivation,) = offers[0].derivations
        assert (derivation.relation, derivation.parent_name) == (Relation.QUANTIZED, "org/Tiny-1M")
        assert derivation.stated_by == "hub card"


def test_a_download_is_whole_checked_and_reports_progress(
    hub: Any, source: HubSource, folder: Path, tiny_gguf: bytes
) -> None:
    hub.add(REPO, {"Tiny-1M-F16.gguf": BIG, "b.gguf": tiny_gguf}, card={"license": "mit", "base_model": "o/T"})
    seen: list[tuple[int, int]] = []
    fetched = source.fetch(f"{REPO}/Tiny-1M-F16.gguf", lambda done, total: seen.append((done, total)))
    assert fetched.path == folder / REPO / "Tiny-1M-F16.gguf"
    assert fetched.path.read_bytes() == BIG
    assert (fetched.source, fetched.model, fetched.licence) == (f"hub:{REPO}", "Tiny-1M", "mit")
    assert fetched.derivations[0].relation is Relation.CONVERTED
    assert seen[-1] == (len(BIG), len(BIG))
    assert len(seen) >= 6
    assert seen == sorted(seen)
    assert leftovers(folder) == ["Tiny-1M-F16.gguf"]
    source.fetch(f"{REPO}/Tiny-1M-F16.gguf")
    assert len(hub.transfers()) == 1


def test_the_token_goes_to_the_hub_alone(hub: Any, source: HubSource, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add(REPO, {"a.gguf": b"x" * 100}, private=True)
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    source.fetch(f"{REPO}/a.gguf")
    (transfer,) = hub.transfers()
    assert transfer.host.startswith("localhost")
    assert transfer.token == ""
    assert {r.token for r in hub.requests if r.host.startswith("127.")} == {"hf_good"}


def test_telemetry_is_off(hub: Any, source: HubSource) -> None:
    hub.add(REPO, {"a.gguf": b"x"})
    list(source.offers(REPO))
    source.fetch(f"{REPO}/a.gguf")
    list(source.offers("tiny"))
    assert {request.user_agent for request in hub.requests} == {"trilemma"}


@pytest.mark.parametrize("hard", [False, True])
def test_a_connection_that_breaks_is_taken_up_where_it_ended(
    hub: Any, source: HubSource, folder: Path, hard: bool
) -> None:
    hub.add(REPO, {"a.gguf": BIG})
    hub.drop_after, hub.drops, hub.drop_hard = 5 * 2**20, 2, hard
    seen: list[int] = []
    assert source.fetch(f"{REPO}/a.gguf", lambda done, _: seen.append(done)).path.read_bytes() == BIG
    ranges = [r.range for r in hub.transfers()]
    assert len(ranges) == 3
    assert ranges[0] == ""
    if not hard:  # A reset may throw away what had arrived.
        assert [int(r.removeprefix("bytes=").rstrip("-")) >= 2**20 for r in ranges[1:]] == [True, True]
        assert seen == sorted(seen)
    assert leftovers(folder) == ["a.gguf"]


def test_an_interrupted_download_is_resumed_by_the_next(hub: Any, source: HubSource, folder: Path) -> None:
    hub.add(REPO, {"a.gguf": BIG})

    def stop(done: int, total: int) -> None:
        if done >= 4 * 2**20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        source.fetch(f"{REPO}/a.gguf", stop)
    assert not (folder / REPO / "a.gguf").exists()
    assert source.fetch(f"{REPO}/a.gguf").path.read_bytes() == BIG
    assert hub.transfers()[-1].range == f"bytes={4 * 2**20}-"
    assert leftovers(folder) == ["a.gguf"]


def test_a_download_can_be_cancelled_while_it_is_checked(hub: Any, source: HubSource, folder: Path) -> None:
    hub.add(REPO, {"a.gguf": BIG})
    whole = 0

    def stop(done: int, total: int) -> None:
        nonlocal whole
        whole += done == total
        if whole == 2:  # all has come, and is read once more
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        source.fetch(f"{REPO}/a.gguf", stop)
    assert not (folder / REPO / "a.gguf").exists()
    assert source.fetch(f"{REPO}/a.gguf").path.read_bytes() == BIG
    assert len(hub.transfers()) == 1


@pytest.mark.parametrize("after", [2**20, len(BIG)])
def test_of_a_download_that_is_not_to_be_kept_nothing_stays(
    hub: Any, source: HubSource, folder: Path, after: int
) -> None:
    hub.add(REPO, {"a.gguf": BIG})

    def stop(done: int, total: int) -> None:
        if done >= after:
            raise KeyboardInterrupt

    source.keep_parts = False
    with pytest.raises(KeyboardInterrupt):
        source.fetch(f"{REPO}/a.gguf", stop)
    assert leftovers(folder) == []


def test_a_changed_file_is_not_joined_to_the_old_part(hub: Any, source: HubSource) -> None:
    hub.add(REPO, {"a.gguf": BIG})
    hub.drop_after, hub.drops = 5 * 2**20, 1

    def stop(done: int, total: int) -> None:
        if done >= 4 * 2**20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        source.fetch(f"{REPO}/a.gguf", stop)
    newer = os.urandom(2**20) * 3
    hub.repos[REPO].files["a.gguf"] = newer
    assert source.fetch(f"{REPO}/a.gguf").path.read_bytes() == newer


def test_a_newer_version_of_a_file_leaves_the_one_that_was_measured(hub: Any, source: HubSource, folder: Path) -> None:
    repo = hub.add(REPO, {"a.gguf": b"old"})
    old = source.fetch(f"{REPO}/a.gguf").path
    repo.files["a.gguf"] = b"newer"
    new = source.fetch(f"{REPO}/a.gguf").path
    assert (old.read_bytes(), new.read_bytes()) == (b"old", b"newer")
    assert (old.name, new.name) == ("a.gguf", "a.gguf")
    assert new.is_relative_to(folder / REPO)
    sent = len(hub.transfers())
    assert source.fetch(f"{REPO}/a.gguf").path == new
    repo.files["a.gguf"] = b"old"
    assert source.fetch(f"{REPO}/a.gguf").path == old
    assert len(hub.transfers()) == sent, "both are here"


def test_a_server_without_ranges_is_put_up_with(hub: Any, source: HubSource) -> None:
    hub.add(REPO, {"a.gguf": BIG})
    hub.drop_after, hub.drops, hub.ignore_range = 5 * 2**20, 1, True
    assert source.fetch(f"{REPO}/a.gguf").path.read_bytes() == BIG


def test_false_content_is_refused_and_removed(hub: Any, source: HubSource, folder: Path) -> None:
    hub.add(REPO, {"a.gguf": BIG})
    hub.corrupt = True
    assert "SHA-256" in refusal(lambda: source.fetch(f"{REPO}/a.gguf")).message
    assert leftovers(folder) == []
    hub.corrupt = False
    assert source.fetch(f"{REPO}/a.gguf").path.read_bytes() == BIG


def test_more_than_announced_is_refused(hub: Any, source: HubSource, folder: Path) -> None:
    hub.add(REPO, {"a.gguf": b"x" * 1000})
    hub.oversend = 5000
    assert "announced" in refusal(lambda: source.fetch(f"{REPO}/a.gguf")).message
    assert not (folder / REPO / "a.gguf").exists()


def test_refusals_say_what_to_do(hub: Any, source: HubSource, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add(REPO, {"a.gguf": b"x"})
    hub.add("someone/gated", {"a.gguf": b"x"}, gated=True)
    assert "no file" in refusal(lambda: source.fetch(f"{REPO}/b.gguf")).message
    missing = refusal(lambda: source.fetch("no/such/a.gguf"))
    assert "no repository no/such" in missing.message
    assert "HF_TOKEN" in missing.hint
    assert "no repository" in refusal(lambda: list(source.offers("no/such"))).message
    gated = refusal(lambda: source.fetch("someone/gated/a.gguf"))
    assert "accept" in gated.message
    assert f"{hub.url}/someone/gated" in gated.hint
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    assert "(403)" in refusal(lambda: source.fetch("someone/gated/a.gguf")).message
    assert "(404)" in refusal(lambda: source.fetch("no/such/a.gguf")).message
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    for call in (lambda: source.fetch(f"{REPO}/a.gguf"), lambda: list(source.offers(REPO))):
        bad = refusal(call)
        assert "HF_TOKEN" in bad.message
        assert "/settings/tokens" in bad.hint
    assert "hf_expired" not in f"{bad}"


@pytest.mark.parametrize(("status", "word"), [(401, "401"), (403, "403"), (429, "slow down"), (503, "of its own")])
def test_a_hub_that_refuses_everything(hub: Any, source: HubSource, status: int, word: str) -> None:
    hub.status = status
    for call in (lambda: source.search("x"), lambda: source.fetch(f"{REPO}/a.gguf")):
        assert word in refusal(call).message


def test_an_unreachable_hub_is_told_quickly(source: HubSource, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
    for call in (
        lambda: source.search("x"),
        lambda: list(source.offers("a/b")),
        lambda: source.fetch("a/b/c.gguf"),
    ):
        started = time.monotonic()
        error = refusal(call)
        assert f"127.0.0.1:{port}" in error.message
        assert "TRILEMMA_MODELS" in error.hint
        assert time.monotonic() - started < 10


def test_something_else_than_a_hub_is_told(source: HubSource, hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "not a url")
    refusal(lambda: source.search("x"))
    refusal(lambda: source.fetch("a/b/c.gguf"))


def test_offline_mode_is_respected(hub: Any, settings: Settings) -> None:
    code = (
        "from trilemma.catalog.hub import HubSource; from trilemma.settings import get_settings;"
        "from trilemma.errors import HubError\n"
        "try: HubSource(get_settings()).search('x')\n"
        "except HubError as e: print(e)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "HF_HUB_OFFLINE" in out
    assert hub.requests == []


@pytest.mark.parametrize(
    "file",
    [
        "../../x.gguf",
        "..%2f..%2fx.gguf",
        "a/../../x.gguf",
        "/etc/x.gguf",
        "a//x.gguf",
        "./x.gguf",
        ".hidden.gguf",
        "a\\..\\x.gguf",
        "C:x.gguf",
        "x.gguf\x00.txt",
        "x\n.gguf",
        "\u202ex.gguf",
        "x.txt",
        "x-00001-of-00002.gguf",
        "",
        "a" * 300 + ".gguf",
    ],
)
def test_no_file_name_leaves_its_folder(hub: Any, source: HubSource, home: Path, file: str) -> None:
    hub.add(REPO, {file: b"evil"})
    before = sorted(home.rglob("*"))
    refusal(lambda: source.fetch(f"{REPO}/{file}"))
    assert list(source.offers(REPO)) == []
    assert sorted(home.rglob("*")) == before


@pytest.mark.parametrize("reference", ["../x/a.gguf", "a/..", "a/../b.gguf", "..", "", "a", "a/b@../../c/d.gguf"])
def test_no_repository_name_leaves_its_folder(hub: Any, source: HubSource, reference: str) -> None:
    refusal(lambda: source.fetch(reference))
    assert hub.requests == []


def test_a_link_out_of_the_folder_is_not_followed(hub: Any, source: HubSource, folder: Path, tmp_path: Path) -> None:
    hub.add(REPO, {"sub/a.gguf": b"x"})
    (tmp_path / "outside").mkdir()
    (folder / REPO).mkdir(parents=True)
    (folder / REPO / "sub").symlink_to(tmp_path / "outside")
    refusal(lambda: source.fetch(f"{REPO}/sub/a.gguf"))
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_full_disk_is_told_before_anything_is_fetched(
    hub: Any, source: HubSource, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(REPO, {"a.gguf": BIG})
    real = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real(path)._replace(free=10_000_000))
    with pytest.raises(DiskFullError) as caught:
        source.fetch(f"{REPO}/a.gguf")
    assert "TRILEMMA_HOME" in caught.value.hint
    assert hub.transfers() == []
    assert leftovers(folder) == []


def test_a_folder_that_cannot_be_written_is_told(hub: Any, source: HubSource, folder: Path) -> None:
    hub.add(REPO, {"a.gguf": b"x"})
    folder.write_text("a file where the folder should be")
    with pytest.raises(CatalogError) as caught:
        source.fetch(f"{REPO}/a.gguf")
    assert caught.value.hint


def test_a_connection_that_never_gives_a_byte_is_given_up(
    hub: Any, source: HubSource, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_transfer, "WAIT_S", 0.01)
    hub.add(REPO, {"a.gguf": BIG})
    hub.drop_after, hub.drops = 0, 100
    error = refusal(lambda: source.fetch(f"{REPO}/a.gguf"))
    assert hub.url in error.message
    assert len(hub.transfers()) == hub_transfer.MAX_STALLS
    assert not (folder / REPO / "a.gguf").exists()


def test_one_file_is_downloaded_by_one_at_a_time(hub: Any, source: HubSource, settings: Settings) -> None:
    hub.add(REPO, {"a.gguf": BIG})
    second: list[HubError] = []

    def meanwhile(done: int, total: int) -> None:
        if not second:
            other = HubSource(settings)
            other.keep_parts = False
            second.append(refusal(lambda: other.fetch(f"{REPO}/a.gguf")))

    assert source.fetch(f"{REPO}/a.gguf", meanwhile).path.read_bytes() == BIG
    assert "already" in second[0].message
