"""Names of files, models and repositories, and model cards: all of it somebody else's text."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.fuzz.inputs import texts
from tests.fuzz.surface import Surface, scratch
from tests.fuzz.weights import assert_clean
from trilemma.catalog import names
from trilemma.catalog.card import derivations, licence, read_card
from trilemma.catalog.hub import HubSource, _is_safe, _parse
from trilemma.settings import Settings

# Model cards


_CARD_LINES = (
    "license: other", "license_name: x", "license: [a, b]", "license: !!int \"\"", "license: !!bool maybe",
    "base_model: a/b",
    "base_model: [a/b, c/d]", "base_model: ../..", "base_model_relation: quantized", "license: !!timestamp x",
    "<<: {a: 1}",
    "a: &a [*a]", "license: *b", "license: !!python/object/apply:os.system [id]", "license: 2001-99-99",
    "license: .nan",
    "license: !!set {a}", "license: !!float \"\"", "license: !!binary \"*\"", "? [a]\n: b", "license: !!omap [a]",
    "- a", "license: 0o9",
    "license: 1:99:99", "license: =", "license: !!null x", "license: !!pairs [a]", "x: |",
    "license: !<tag:yaml.org,2002:merge> x",
)  # fmt: skip
_MERGES = "\n".join(
    ["a0: &a0 {x: 1}", *(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 12))]
)
_cards = st.lists(
    st.one_of(st.sampled_from(_CARD_LINES), texts.map(lambda text: f"license: {text}"), texts), max_size=6
).map(lambda lines: "---\n" + "\n".join(lines) + "\n---\n# A model\n")


def _card(text: str) -> None:
    card = read_card(text)
    assert_clean(licence(card))
    for found in derivations(card, ["base_model:quantized:a/b", text[:200]], text[:20]):
        assert_clean(found.parent_name)
        found.model_dump_json()


# Names


_names = st.one_of(
    texts,
    st.builds(
        lambda *parts: "".join(parts), texts, st.sampled_from(("-Q4_K_M", ".gguf", "-00001-of-00003", "-GGUF")), texts
    ),
    st.builds("{}/{}".format, texts, texts),
    st.builds(
        "{}/{}/{}".format, st.sampled_from(("owner", "..", "o.w")), st.sampled_from(("name", "..", "n@r")), texts
    ),
    st.builds("owner/name/{}.gguf".format, texts),
    st.builds("owner/name@{}".format, texts),
)


def _names_of(text: str) -> None:
    stem, quantization = names.split_file_name(text)
    assert_clean(stem, quantization, names.model_name(text, text, text), names.model_name(text, None),
                 names.repository_model_name(text), names.clean(text))  # fmt: skip
    assert names.shards(text) >= 1
    slug = names.slug(text)
    assert "/" not in slug
    assert slug not in (".", "..", "")
    assert slug.isascii()
    assert (scratch() / f"{slug}-x.gguf").resolve().parent == scratch()


def _hub() -> HubSource:
    return HubSource(Settings(home=scratch() / "home"))


def _references(text: str) -> None:
    source = _hub()
    repository, revision, file = _parse(text)
    target = (
        source._target(repository, file) if file else source._target(f"{repository}@{names.clean(revision or '', 12)}")
    )
    assert target.resolve().is_relative_to(scratch() / "home" / "artifacts" / "hub")
    assert target.resolve() != scratch() / "home" / "artifacts" / "hub"
    assert not file or _is_safe(file)


SURFACES = (
    Surface(
        "Model cards", _cards, _card, share=1,
        examples=(*(f"---\n{line}\n---\n" for line in _CARD_LINES), f"---\n{_MERGES}\n---\n",
            "---\n" + "[" * 200_000 + "\n---\n",
                  "---\n" + "- " * 100_000 + "\n---\n"),
    ),
    Surface("Names of files and models", _names, _names_of, share=1),
    Surface("References to the hub", _names, _references, share=1),
)  # fmt: skip
