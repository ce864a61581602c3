"""The running text that perplexity and divergence are taken over, cut into chunks as llama-perplexity cuts it."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from trilemma.engines.base import Availability, LoadedModel
from trilemma.errors import SuiteDataError
from trilemma.schema import SuiteSpec
from trilemma.suites import boolq, data
from trilemma.suites.options import parse_options

DEFAULT_CHUNKS = 8
SPARE_TOKENS = 256
WIKITEXT2 = data.Dataset("", "Salesforce/wikitext", "wikitext-2-raw-v1", "test")


class TextOptions(BaseModel):
    """The options of the suites over a text; ``text`` left out is the first of these that is at hand."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str | None = Field(
        default=None,
        pattern=r"^(boolq_passages|wikitext2)$",
        title="Text",
        description="boolq_passages: paragraphs of Wikipedia; wikitext2: the test part of WikiText-2, raw.",
    )
    context: int = Field(default=512, ge=16, le=1 << 20, title="Chunk", description="Tokens in a chunk.")
    fit_context: bool = Field(
        default=False,
        title="Cut chunks to the context",
        description="Read as much text in shorter chunks where the configuration's context is shorter.",
    )


@dataclass(frozen=True)
class Chunks:
    """A text in chunks of ``context`` tokens; positions from ``first`` on are scored.

    The logits after token ``first`` ... ``context - 2`` predict the tokens that follow them, so a chunk gives
    ``context - 1 - first`` positions (``scored``).
    """

    chunks: list[list[int]]
    first: int
    source: str
    usual: bool = True
    """Whether a chunk is as long as was asked: cut to the context, they are other items."""

    def item_id(self, index: int) -> str:
        """The name of a chunk; equal names are equal text."""
        return f"chunk/{index}" if self.usual else f"chunk/{len(self.chunks[0])}/{index}"

    @property
    def inputs(self) -> list[list[int]]:
        """What the model is fed: each chunk but its last token, which is only predicted."""
        return [chunk[:-1] for chunk in self.chunks]


def options(spec: SuiteSpec) -> TextOptions:
    """The options of ``spec``.

    Raises:
        StudyError: one is unknown or out of range.
    """
    return parse_options(TextOptions, spec, spec.name)


def text_name(wanted: TextOptions) -> str:
    """The text that ``wanted`` means on this machine: an installed one before one that would be downloaded."""
    return wanted.text or ("boolq_passages" if data.package_path(boolq.DATASET) else "wikitext2")


def availability(wanted: TextOptions) -> Availability:
    """Whether the text is at hand; if not, how to get it."""
    return data.availability(WIKITEXT2 if text_name(wanted) == "wikitext2" else boolq.DATASET)


def load(wanted: TextOptions) -> tuple[str, str]:
    """The text and its source.

    Raises:
        SuiteDataError: it cannot be had, or is malformed.
    """
    if text_name(wanted) == "wikitext2":
        rows = data.load(WIKITEXT2)
        # The hub's form has emptied the lines that hold but a space in wiki.test.raw; put back, it is that file again.
        return "".join(row.text("text") or " \n" for row in rows.rows), f"wikitext2: {rows.source}"
    rows = data.load(boolq.DATASET)
    passages = dict.fromkeys(row.text("passage") for row in rows.rows)
    return "\n\n".join(passages) + "\n", f"boolq_passages: {rows.source}"


def cut(model: LoadedModel, spec: SuiteSpec) -> Chunks:
    """The first ``spec.limit`` chunks (8 if it sets none) of the text in the model's tokens.

    As llama-perplexity does: the chunks follow each other in the tokenised text; each chunk's first token gives way to
    the start token if the model wants one; the second half of each chunk is scored, so that every position has half a
    chunk of context. With ``fit_context`` a chunk is no longer than the model's context, and there are as many as read
    the same stretch of text: over a sweep of contexts, what is lost is the price of reading less.

    Raises:
        StudyError: the options are wrong.
        SuiteDataError: the text cannot be had, or is shorter than two chunks.
    """
    wanted = options(spec)
    text, source = load(wanted)
    size, limit = wanted.context, spec.limit or DEFAULT_CHUNKS
    if wanted.fit_context and model.context_length < size:
        size, limit = model.context_length, limit * size // model.context_length
    tokens = _beginning(model, text, max(2, limit) * size)
    if len(tokens) < 2 * size:
        raise SuiteDataError(f"The text has {len(tokens)} tokens: too few for two chunks of {size}.", "Lower context.")
    start = model.tokenize("")[:1]
    chunks = []
    for number in range(min(limit, len(tokens) // size)):
        chunk = tokens[number * size : (number + 1) * size]
        chunks.append([*start, *chunk[len(start) :]])
    said = f"{source}; first {len(chunks)} chunks of {size} tokens"
    return Chunks(chunks, size // 2, said, usual=size == wanted.context)


def _beginning(model: LoadedModel, text: str, count: int) -> list[int]:
    """At least the first ``count`` tokens of ``text``, all if it has fewer.

    Tokenising megabytes for a few chunks takes seconds, so only a beginning is: how the rest would be cut decides over
    no token but the last ones of what is tokenised, and those are left over.
    """
    needed, characters = max(count, 1) + SPARE_TOKENS, 6 * (count + SPARE_TOKENS)
    while True:
        tokens = model.tokenize(text[:characters])
        if len(tokens) >= needed or characters >= len(text):
            return tokens
        characters *= 2
