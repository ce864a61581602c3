"""Ballots: two answers to one prompt, as A and B, and which of them to show next."""

from __future__ import annotations

import itertools
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import streamlit as st

from pages.parts import compare_data
from pages.parts.compare_data import Version
from trilemma.analysis.paired import item_id
from trilemma.records import Choice, Vote
from trilemma.sample.words import WITHHELD
from trilemma.tryout.rounds import Round, State

CHANCE = random.SystemRandom()
What = tuple[str, frozenset[str]]
"""An item, and the two configurations whose answers to it were shown, whichever was A."""


@dataclass(frozen=True)
class Item:
    """A prompt that several configurations answered; ``answers`` by configuration id."""

    id: str
    prompt: str
    expected: str
    answers: Mapping[str, str]

    def differ(self, one: str, other: str) -> bool:
        """Whether both answered, in different words."""
        given = self.answers
        return one in given and other in given and given[one].split() != given[other].split()


@dataclass(frozen=True)
class Ballot:
    """What is put before the voter; ``a`` and ``b`` are configuration ids, which they do not see."""

    source: str
    item: Item
    a: str
    b: str
    live: Round | None = None

    @property
    def what(self) -> What:
        """The item, and the two that answered it."""
        return self.item.id, frozenset((self.a, self.b))

    def blind(self, told: Collection[What]) -> bool:
        """Whether neither answer is known from before."""
        return not known(told).get(self.item.id, set()) & {self.a, self.b}

    def vote(self, choice: Choice, voter: str) -> Vote:
        """The vote to keep."""
        return Vote(
            source=self.source,
            item_id=self.item.id,
            prompt=self.item.prompt,
            a_id=self.a,
            b_id=self.b,
            a_answer=self.item.answers[self.a],
            b_answer=self.item.answers[self.b],
            choice=choice,
            voter=voter,
            asked=self.live.ask.question.model_dump(exclude={"prompt"}) if self.live else {},
        )


class NoBallot(NamedTuple):
    """Why there is nothing to vote on, what was asked, and the end of the log where an engine failed."""

    reason: str
    prompt: str
    log: str = ""


@st.cache_resource(max_entries=16, show_spinner="Reading answers")
def items(of: Version, study: str, ids: tuple[str, ...]) -> dict[str, list[Item]]:
    """By suite, what can be voted on: written, known, and answered by two in different words."""
    found: dict[str, dict[str, Item]] = {}
    for one in ids:
        for suite, answers in compare_data.answers(of, study, one).items():
            by_id = found.setdefault(suite, {})
            for answer in answers:
                if "choices" in answer.detail or not answer.prompt or answer.prompt == WITHHELD:
                    continue
                key = item_id(answer)
                item = by_id.get(key, Item(key, answer.prompt, answer.expected, {}))
                # Of several tries the first.
                by_id[key] = Item(key, item.prompt, item.expected, {one: answer.answer} | dict(item.answers))
    kept = {
        suite: [i for i in by_id.values() if any(i.differ(*pair) for pair in itertools.combinations(ids, 2))]
        for suite, by_id in found.items()
    }
    return {suite: left for suite, left in kept.items() if left}


def voted(votes: Sequence[Vote], source: str, voter: str) -> set[What]:
    """What was voted on under a name; nothing for those who give none."""
    mine = [vote for vote in votes if voter and (vote.voter, vote.source) == (voter, source)]
    return {(vote.item_id, frozenset((vote.a_id, vote.b_id))) for vote in mine}


def known(told: Collection[What]) -> dict[str, set[str]]:
    """By item, whose answers to it were told: such an answer is known again beside any other."""
    found: dict[str, set[str]] = {}
    for item, pair in told:
        found.setdefault(item, set()).update(pair)
    return found


def draw(
    source: str, found: Sequence[Item], ids: Sequence[str], told: Collection[What], chance: random.Random = CHANCE
) -> Ballot | None:
    """The next blind ballot: an item by chance, of a pair that was shown least; None when none is left."""
    before = known(told)
    left: dict[tuple[str, str], list[Item]] = {}
    for one, other in itertools.combinations(ids, 2):
        fresh = [item for item in found if item.differ(one, other) and not {one, other} & before.get(item.id, set())]
        if fresh:
            left[one, other] = fresh
    if not left:
        return None
    drawn = _rarest([*left], [pair for _, pair in told], chance)
    a, b = chance.sample(drawn, 2)
    return Ballot(source, chance.choice(left[drawn]), a, b)


def drawn_pair(ids: Sequence[str], votes: Sequence[Vote], chance: random.Random = CHANCE) -> list[str]:
    """Which two answer a prompt of the voter's own: those that were voted on least, in an order by chance."""
    met = [frozenset((vote.a_id, vote.b_id)) for vote in votes]
    return chance.sample(_rarest([*itertools.combinations(ids, 2)], met, chance), 2)


def _rarest(pairs: Sequence[tuple[str, str]], met: Sequence[frozenset[str]], chance: random.Random) -> tuple[str, str]:
    counts = {pair: met.count(frozenset(pair)) for pair in pairs}
    return chance.choice([pair for pair, count in counts.items() if count == min(counts.values())])


def ballot_of(answered: Round, chance: random.Random = CHANCE) -> Ballot | NoBallot:
    """The ballot out of two live answers, or why there is none."""
    prompt = answered.ask.question.prompt
    for answer in answered.answers.values():
        if answer.state is State.FAILED:
            return NoBallot(answer.reason, prompt, answer.log)
    if left := [answer for answer in answered.answers.values() if answer.state is not State.DONE]:
        why = next((f": {answer.reason}" for answer in left if answer.reason), "")
        return NoBallot(f"It was stopped{why}.", prompt)
    texts = {one: answer.text for one, answer in answered.answers.items()}
    item = Item("", prompt, "", texts)
    a, b = chance.sample([*texts], 2)
    if not item.differ(a, b):
        return NoBallot("Both wrote the same. Ask something else.", prompt)
    return Ballot("", item, a, b, answered)
