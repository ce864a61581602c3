"""Where the prices of a plan come from: an example, a table of the team's own, or what somebody entered."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Literal

from trilemma.base import Frozen
from trilemma.planning.tables import Entry

PriceKind = Literal["cloud", "machine", "electricity", "pue", "grid"]
PRICE_WORDS: dict[PriceKind, str] = {
    "cloud": "rented machine", "machine": "bought machine", "electricity": "electricity", "pue": "PUE", "grid": "grid",
}  # fmt: skip
_SAME = 1e-9


class Standing(StrEnum):
    """How far a price is the reader's own."""

    EXAMPLE = "example"
    TABLE = "your table"
    ENTERED = "entered"


class Stated(Frozen):
    """A price or an intensity of a plan, with its source and date; both are empty where somebody entered it."""

    kind: PriceKind
    value: float
    unit: str = ""
    standing: Standing = Standing.ENTERED
    title: str = ""
    source: str = ""
    date: str = ""

    @property
    def words(self) -> str:
        """``rented machine 0.2 USD an hour``."""
        return f"{PRICE_WORDS[self.kind]} {self.amount}"

    @property
    def amount(self) -> str:
        """``0.2 USD an hour``."""
        return f"{self.value:,.10g} {self.unit}".strip()

    @property
    def origin(self) -> str:
        """Whose it is, in words."""
        if self.standing is Standing.ENTERED:
            return "Entered here."
        if self.standing is Standing.TABLE:
            return f"Your own: {self.source}, {self.date}."
        return f"An example, to be replaced: {self.source}; as of {self.date}, not checked since."


def unit_of(kind: PriceKind, currency: str) -> str:
    """The unit of a kind of price."""
    units: dict[PriceKind, str] = {
        "cloud": f"{currency} an hour", "machine": currency, "electricity": f"{currency} a kWh", "pue": "",
        "grid": "g CO2e a kWh",
    }  # fmt: skip
    return units[kind]


def stated(kind: PriceKind, value: float, entry: Entry | None, currency: str) -> Stated:
    """``value`` as the ``entry`` that was chosen states it; as entered where it is another, or there is no entry."""
    unit = unit_of(kind, currency)
    if entry is None or not math.isclose(entry.amount, value, rel_tol=_SAME):
        return Stated(kind=kind, value=value, unit=unit)
    return Stated(
        kind=kind, value=value, unit=unit, standing=Standing.TABLE if entry.own else Standing.EXAMPLE,
        title=entry.title, source=entry.source, date=entry.date,
    )  # fmt: skip
