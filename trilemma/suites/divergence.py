"""Divergence from the reference: how far this artifact's next-token distribution is from its original's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
from scipy.stats import binomtest

from trilemma.engines.base import Availability, LoadedModel
from trilemma.errors import StudyError
from trilemma.records import AnswerRecord
from trilemma.schema import Measurement, Method, Provenance, SuiteSpec
from trilemma.suites import text
from trilemma.suites.base import SuiteContext
from trilemma.suites.distributions import Interval, chunk_interval, divergences, quantile_interval

SMALLEST_FOR_P99 = 100


class Divergence:
    """KL(reference || this) and top-1 agreement, over the positions that perplexity scores.

    Both models are evaluated beside each other, chunk by chunk, so that only one chunk's logits of each are held.
    """

    name: ClassVar[str] = "divergence"
    title: ClassVar[str] = "Divergence from the reference"
    licence: ClassVar[str] = "CC-BY-SA-3.0"
    figures: ClassVar[tuple[str, ...]] = ("kl_divergence", "top1_agreement")
    options_type: ClassVar[type[text.TextOptions]] = text.TextOptions

    def availability(self) -> Availability:
        """Whether a text is at hand; if not, how to get it."""
        return text.availability(text.TextOptions())

    def items(self, spec: SuiteSpec) -> list[str]:
        """The names of the chunks that ``spec`` asks for, 8 if it sets no limit; the text may hold fewer."""
        text.options(spec)
        return [f"chunk/{number}" for number in range(spec.limit or text.DEFAULT_CHUNKS)]

    def answers(self, model: LoadedModel, context: SuiteContext) -> Iterator[AnswerRecord]:
        """Evaluate every chunk with both models, each from an empty cache; nothing without a reference.

        Raises:
            StudyError: the reference has another vocabulary.
        """
        if context.open_reference is None:
            return
        cut = text.cut(model, context.spec)
        with context.open_reference() as reference:
            if reference.vocabulary_size != model.vocabulary_size:
                raise StudyError(
                    f"The reference {context.reference_label} has a vocabulary of {reference.vocabulary_size} tokens, "
                    f"this artifact one of {model.vocabulary_size}: their distributions cannot be compared.",
                    "Choose a reference of the same model.",
                )
            both = zip(
                reference.logits(cut.inputs, first=cut.first), model.logits(cut.inputs, first=cut.first), strict=True
            )
            for index, (expected, found) in enumerate(both):
                kl, agreed = divergences(expected, found)
                yield AnswerRecord(
                    suite=self.name,
                    item_id=cut.item_id(index),
                    index=index,
                    prompt=model.detokenize(cut.chunks[index]),
                    answer="",
                    scores={"kl_divergence": float(kl.mean()), "top1_agreement": float(agreed.mean())},
                    detail={
                        "kl": [float(f"{value:.7g}") for value in kl],
                        "kl_sum": float(kl.sum()),
                        "agreed": int(agreed.sum()),
                        "positions": len(kl),
                        "reference": context.reference_label,
                        "source": cut.source,
                    },
                )
                context.advance((index + 1) / len(cut.chunks))

    def measurements(self, answers: Sequence[AnswerRecord], spec: SuiteSpec) -> list[Measurement]:
        """Mean and 99th percentile of the divergence, and the share of positions with the same top token."""
        if not answers:
            return [
                self._measurement(figure, statistic, None, Interval(None, None), 0, "", ("there is no reference",))
                for figure, statistic in (("kl_divergence", "mean"), ("kl_divergence", "p99"), ("top1_agreement", ""))
            ]
        details: list[Any] = [answer.detail for answer in answers]
        counts = [int(detail["positions"]) for detail in details]
        sums = [float(detail["kl_sum"]) for detail in details]
        chunks = [np.asarray(detail["kl"], dtype=np.float64) for detail in details]
        agreed, n = sum(int(detail["agreed"]) for detail in details), sum(counts)
        enough = n >= SMALLEST_FOR_P99
        low, high = chunk_interval(sums, counts)
        wilson = binomtest(agreed, n).proportion_ci(method="wilson")
        source = str(details[0]["source"])
        reference = f"the reference is {details[0]['reference']}"
        exact = ("equal to the reference at every position",) if not any(map(np.any, chunks)) else ()
        return [
            self._measurement(
                "kl_divergence",
                "mean",
                sum(sums) / n,
                Interval(None if low is None else max(0.0, low), high),
                n,
                source,
                (reference, f"95 % interval by Student's t over {len(answers)} chunks", *exact),
            ),
            self._measurement(
                "kl_divergence",
                "p99",
                float(np.quantile(np.concatenate(chunks), 0.99)) if enough else None,
                quantile_interval(chunks, 0.99) if enough else Interval(None, None),
                n,
                source,
                (
                    reference,
                    f"95 % interval by bootstrap over {len(answers)} chunks"
                    if enough
                    else f"{n} positions are too few for a 99th percentile",
                    *exact,
                ),
            ),
            self._measurement(
                "top1_agreement",
                "",
                agreed / n,
                Interval(float(wilson.low), float(wilson.high)),
                n,
                source,
                (reference, "95 % interval by Wilson's method, positions taken as independent", *exact),
            ),
        ]

    def _measurement(
        self,
        figure: str,
        statistic: str,
        value: float | None,
        interval: Interval,
        n: int,
        source: str,
        reasons: tuple[str, ...],
    ) -> Measurement:
        return Measurement(
            figure=figure,
            subject=self.name,
            statistic=statistic,
            value=value,
            low=interval.low,
            high=interval.high,
            n=n,
            provenance=Provenance(
                method=Method.MEASURED,
                source=f"{self.name}: {source}" if source else self.name,
                valid=value is not None,
                reasons=reasons,
            ),
        )
