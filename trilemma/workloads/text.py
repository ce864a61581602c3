"""Plain English of any length, fixed by a seed, for prompts whose length matters and whose content does not."""

from __future__ import annotations

import random
from collections.abc import Iterator

_WHO = (
    "The night shift", "A visiting engineer", "The clerk at the front desk", "Our supplier", "The harbour office",
    "A retired teacher", "The maintenance crew", "One of the auditors", "The town library", "A young botanist",
)  # fmt: skip
_DID = (
    "reported", "recorded", "doubted", "measured", "explained", "copied by hand", "postponed", "repaired",
    "photographed", "compared with last year's notes",
)  # fmt: skip
_WHAT = (
    "the water level of the old canal", "a crate of blue glass bottles", "the timetable of the coastal railway",
    "three missing invoices", "the colour of the evening sky", "a leaking valve in the boiler room",
    "the weight of the harvest", "a map with no legend", "the sound of the third bell", "an unusual kind of moss",
)  # fmt: skip
_WHEN = (
    "before breakfast", "late on Thursday", "during the second storm", "when the lights came back", "in the third week",
    "without telling anyone", "at the request of the council", "as the rules demand", "for the first time in years",
    "while the others waited",
)  # fmt: skip
_QUESTIONS = (
    "What should I check first when {what} is not as expected?",
    "Please tell me in your own words why somebody would care about {what}.",
    "How would you describe {what} to a child?",
    "Give me some practical advice about {what}.",
    "What could go wrong with {what}, and what would you do about it?",
    "I need to write a short note about {what}. Where do I begin?",
)


def sentences(seed: int) -> Iterator[str]:
    """An endless run of sentences, the same for the same seed."""
    rng = random.Random(seed)  # noqa: S311 -- repeatable text, not a secret
    while True:
        yield f"{rng.choice(_WHO)} {rng.choice(_DID)} {rng.choice(_WHAT)} {rng.choice(_WHEN)}."


def question(seed: int) -> str:
    """One question that a user might ask."""
    rng = random.Random(seed)  # noqa: S311 -- repeatable text, not a secret
    return rng.choice(_QUESTIONS).format(what=rng.choice(_WHAT))


def passage(seed: int, words: int) -> str:
    """At least ``words`` words of text in whole sentences."""
    parts: list[str] = []
    count = 0
    for sentence in sentences(seed):
        if count >= words:
            break
        parts.append(sentence)
        count += len(sentence.split())
    return " ".join(parts)
