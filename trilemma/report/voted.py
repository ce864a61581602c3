"""The votes of a report: what people preferred who did not know whose answer they read. No prompt, answer or name."""

from __future__ import annotations

from collections.abc import Mapping

from trilemma.analysis.format import BLANK, digits
from trilemma.analysis.text import count_of, distinct_labels
from trilemma.analysis.votes import Pair, pairs, strengths, votes_headline
from trilemma.report.gather import Material
from trilemma.report.parts import Column, Section, Table, Value


def voted_pairs(material: Material) -> list[Pair]:
    """The votes between configurations of the report, pair by pair, whatever the view leaves out of the picture."""
    return pairs(material.votes, [str(one) for one in material.points.meta.index])


def voted(material: Material) -> Section | None:
    """Counts, shares and strengths; None where nobody voted."""
    found = voted_pairs(material)
    if not found:
        return None
    names = {str(one): str(name) for one, name in distinct_labels(material.points).items()}
    tables = [_pairs(found, names)]
    if (strong := _strengths(found, names)) is not None:
        tables.insert(0, strong)
    return Section(
        "votes", "What people preferred", lead=(votes_headline(found, names),), paragraphs=(_how(material),),
        tables=tuple(tables),
    )  # fmt: skip


def _how(material: Material) -> str:
    own = sum(not vote.source for vote in material.votes)
    of = [f"{len(material.votes) - own:,} on answers of the study's suites"] if own < len(material.votes) else []
    of += [f"{own:,} on prompts of the voters' own"] if own else []
    voters = len({vote.voter for vote in material.votes if vote.voter})
    named = f" {count_of(voters, 'voter')} gave a name." if voters else ""
    return (
        "Each vote is between two answers to one prompt, shown in an order by chance and without names: "
        f"{' and '.join(of)}.{named} Votes are taken as independent, which several of one person are not quite."
    )


def _pairs(found: list[Pair], names: Mapping[str, str]) -> Table:
    columns = (
        Column("One"), Column("The other"), Column("One is better", numbers=True),
        Column("The other is better", numbers=True), Column("Ties", numbers=True), Column("Both bad", numbers=True),
        Column("Share for one", "of votes that prefer either", numbers=True),
    )  # fmt: skip
    rows = tuple(
        (
            Value(names[pair.one]), Value(names[pair.other]), Value(f"{pair.won:,}"), Value(f"{pair.lost:,}"),
            Value(f"{pair.ties:,}"), Value(f"{pair.bad:,}"), _chance(pair.share, pair.low, pair.high),
        )
        for pair in found
    )  # fmt: skip
    note = (
        "In small type Wilson's 95 % interval. A preference is stated above where a test that may be looked at after "
        "every vote, corrected by Holm's method for all pairs, has p below 0.05."
    )
    return Table("Votes by pair", columns, rows, note)


def _strengths(found: list[Pair], names: Mapping[str, str]) -> Table | None:
    """All votes together; None for two configurations, whose share says it, and where groups have nothing in common."""
    strong = strengths(found)
    if strong is None or len(strong) < 3:
        return None
    order = sorted(strong.items(), key=lambda item: -item[1].value)
    rows = tuple(
        (Value(names[one]), _chance(known.value, known.low, known.high), Value(f"{known.votes:,}"))
        for one, known in order
    )
    columns = (
        Column("Configuration"), Column("Preferred to an average one", "chance", numbers=True),
        Column("Votes", numbers=True),
    )  # fmt: skip
    note = (
        "All votes together in the model of Bradley and Terry, in small type the 95 % interval; a tie, or two bad "
        "answers, count as half a win for each, and half a win either way is added to each pair."
    )
    return Table("Strength in all votes together", columns, rows, note)


def _chance(value: float | None, low: float | None, high: float | None) -> Value:
    if value is None or low is None or high is None:
        return Value(BLANK)
    return Value(digits(value, 2), f"{digits(low, 2)} to {digits(high, 2)}")
