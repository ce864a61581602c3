"""Perplexity: how surprised the model is by running text, exactly as llama-perplexity computes it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import ClassVar

from trilemma.engines.base import Availability, LoadedModel
from trilemma.records import AnswerRecord
from trilemma.schema import Measurement, Method, Provenance, SuiteSpec
from trilemma.suites import text
from trilemma.suites.base import SuiteContext
from trilemma.suites.distributions import chunk_interval, negative_log_likelihoods


class Perplexity:
    """exp of the mean negative log-likelihood of the second half of each chunk's tokens."""

    name: ClassVar[str] = "perplexity"
    title: ClassVar[str] = "Perplexity"
    licence: ClassVar[str] = "CC-BY-SA-3.0"
    figures: ClassVar[tuple[str, ...]] = ("perplexity",)
    options_type: ClassVar[type[text.TextOptions]] = text.TextOptions

    def availability(self) -> Availability:
        """Whether a text is at hand; if not, how to get it."""
        return text.availability(text.TextOptions())

    def items(self, spec: SuiteSpec) -> list[str]:
        """The names of the chunks that ``spec`` asks for, 8 if it sets no limit; the text may hold fewer."""
        text.options(spec)
        return [f"chunk/{number}" for number in range(spec.limit or text.DEFAULT_CHUNKS)]

    def answers(self, model: LoadedModel, context: SuiteContext) -> Iterator[AnswerRecord]:
        """Evaluate every chunk from an empty cache."""
        cut = text.cut(model, context.spec)
        for index, logits in enumerate(model.logits(cut.inputs, first=cut.first)):
            chunk = cut.chunks[index]
            losses = negative_log_likelihoods(logits, chunk[cut.first + 1 :])
            yield AnswerRecord(
                suite=self.name,
                item_id=cut.item_id(index),
                index=index,
                prompt=model.detokenize(chunk),
                answer="",
                scores={"perplexity": math.exp(float(losses.mean()))},
                detail={
                    "nll_sum": float(losses.sum()),
                    "tokens": len(losses),
                    "context": len(chunk),
                    "source": cut.source,
                },
            )
            context.advance((index + 1) / len(cut.chunks))

    def measurements(self, answers: Sequence[AnswerRecord], spec: SuiteSpec) -> list[Measurement]:
        """exp(sum of losses / tokens); the ends of the interval are those of the mean loss, through exp."""
        sums = [float(str(answer.detail["nll_sum"])) for answer in answers]
        counts = [int(str(answer.detail["tokens"])) for answer in answers]
        if not answers:
            provenance = Provenance(
                method=Method.MEASURED, source=self.name, valid=False, reasons=("no chunk was evaluated",)
            )
            return [Measurement(figure="perplexity", subject=self.name, value=None, provenance=provenance)]
        low, high = chunk_interval(sums, counts)
        provenance = Provenance(
            method=Method.MEASURED,
            source=f"{self.name}: {answers[0].detail.get('source', '')}",
            reasons=(f"95 % interval by Student's t over {len(answers)} chunks",),
        )
        return [
            Measurement(
                figure="perplexity",
                subject=self.name,
                value=math.exp(sum(sums) / sum(counts)),
                low=None if low is None else math.exp(low),
                high=None if high is None else math.exp(high),
                n=sum(counts),
                provenance=provenance,
            )
        ]
