from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trilemma.catalog.card import derivations, licence, read_card


def relations(card: dict[str, object], tags: tuple[str, ...] = (), quantization: str = "Q4_K_M") -> list[str]:
    return [f"{d.relation} {d.parent_name}" for d in derivations(card, tags, quantization)]


def test_a_card_is_read_out_of_a_readme() -> None:
    text = "---\nlicense: gemma\nbase_model: google/gemma-3-270m\n---\n# Title\n---\nnot: this\n"
    assert read_card(text) == {"license": "gemma", "base_model": "google/gemma-3-270m"}


@pytest.mark.parametrize(
    "text", ["", "# Title", "---\n[1, 2\n---\n", "---\n- a list\n---\n", "---\na: !!python/object:os.system x\n---\n"]
)
def test_a_malformed_card_is_empty(text: str) -> None:
    assert read_card(text) == {}


def test_licences() -> None:
    assert licence({"license": "mit"}) == "mit"
    assert licence({"license": ["mit", "x"]}) == "mit"
    assert licence({"license": "other", "license_name": "llama3"}) == "llama3"
    assert licence({"license": {"a": 1}}) is None
    assert licence({}) is None


def test_relations_as_stated_as_tagged_and_as_usual() -> None:
    assert relations({"base_model": "o/m"}) == ["quantized o/m"]
    assert relations({"base_model": "o/m"}, quantization="BF16") == ["converted o/m"]
    assert relations({"base_model": ["o/a", "o/b"]}) == ["merged o/a", "merged o/b"]
    assert relations({"base_model": "o/m", "base_model_relation": "finetune"}) == ["finetuned o/m"]
    assert relations({"base_model": "o/m"}, ("base_model:o/m", "base_model:adapter:o/m")) == ["adapter o/m"]
    assert relations({}, ("base_model:finetune:o/m", "license:mit")) == ["finetuned o/m"]
    assert relations({"base_model": "../../etc/passwd"}) == []
    assert relations({"base_model": {"a": "b"}}) == []


@given(st.text(max_size=200))
def test_any_text_is_put_up_with(text: str) -> None:
    card = read_card(f"---\n{text}\n---\n")
    licence(card)
    derivations(card, [text])
