"""Tables of prices and grid intensities: TOML files, each entry with its source and date.

Those in ``data/`` come with Trilemma and are examples. A team's own, ``planning/prices.toml`` and
``planning/grid.toml`` in the data folder, are read over them. A currency of one's own drops the examples' prices, which
are in another.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import Field

from trilemma.base import Frozen
from trilemma.errors import PlanError
from trilemma.toml_files import read_toml

_FILES = ("prices.toml", "grid.toml")
_MONEY = ("cloud", "machine", "electricity")
_ADVICE = "Mend or remove the file in the folder planning of the data folder; docs/planning.md shows one."


class Entry(Frozen):
    """What every entry of a table says of itself."""

    title: str = Field(min_length=1, max_length=120)
    source: str = Field(min_length=1, max_length=300, description="Who states it.")
    date: str = Field(pattern=r"^\d{4}(-\d{2}){0,2}$", description="When it was so: 2026, 2026-03 or 2026-03-15.")
    own: bool = Field(default=False, description="The team's own, not an example that comes with Trilemma.")
    amount_field: ClassVar[str]

    @property
    def amount(self) -> float:
        """The number that it states."""
        return float(getattr(self, self.amount_field))


class CloudPrice(Entry):
    """What a machine like the measured one is rented for."""

    amount_field: ClassVar[str] = "per_hour"
    per_hour: float = Field(ge=0, le=1e6)


class MachinePrice(Entry):
    """What a machine like the measured one is bought for."""

    amount_field: ClassVar[str] = "price"
    price: float = Field(ge=0, le=1e9)


class ElectricityPrice(Entry):
    """What a kWh costs."""

    amount_field: ClassVar[str] = "per_kwh"
    per_kwh: float = Field(ge=0, le=1e3)


class Overhead(Entry):
    """Power usage effectiveness: all of a data centre's energy over that of its machines."""

    amount_field: ClassVar[str] = "factor"
    factor: float = Field(ge=1, le=5)


class GridIntensity(Entry):
    """What a kWh of electricity emits."""

    amount_field: ClassVar[str] = "g_per_kwh"
    g_per_kwh: float = Field(ge=0, le=5000)


class Tables(Frozen):
    """All entries by name, and the currency of the prices."""

    currency: str = Field(default="USD", min_length=1, max_length=8)
    cloud: dict[str, CloudPrice] = Field(default_factory=dict)
    machine: dict[str, MachinePrice] = Field(default_factory=dict)
    electricity: dict[str, ElectricityPrice] = Field(default_factory=dict)
    pue: dict[str, Overhead] = Field(default_factory=dict)
    grid: dict[str, GridIntensity] = Field(default_factory=dict)

    def entries(self, kind: str) -> Mapping[str, Entry]:
        """The entries of ``cloud``, ``machine``, ``electricity``, ``pue`` or ``grid``, by name."""
        found: Mapping[str, Entry] = getattr(self, kind)
        return found


_Entry = TypeVar("_Entry", bound=Entry)


def pick(entries: dict[str, _Entry], name: str, what: str) -> _Entry:
    """The entry called ``name``.

    Raises:
        PlanError: there is none.
    """
    if name in entries:
        return entries[name]
    raise PlanError(f"There is no {what} named {name[:60]!r} in the tables.", f"Known: {', '.join(entries) or 'none'}.")


def first(entries: Mapping[str, _Entry]) -> _Entry | None:
    """The entry to begin with: the team's own first, else the first example."""
    return entries.get(first_name(entries))


def first_name(entries: Mapping[str, Entry]) -> str:
    """The name of :func:`first`; empty without any."""
    return next((name for name, one in entries.items() if one.own), next(iter(entries), ""))


def load_tables(home: Path | None = None) -> Tables:
    """The examples, and over them the tables in the data folder ``home``.

    Raises:
        PlanError: a file of one's own cannot be read, or an entry is wrong; the message names file and field.
    """
    with resources.as_file(resources.files(__name__.rpartition(".")[0]) / "data") as folder:
        tables = _read(folder, own=False)
    if home is None:
        return Tables.model_validate(tables)
    found = _read(home / "planning", own=True)
    if found.get("currency", tables["currency"]) != tables["currency"]:
        tables = {kind: entries for kind, entries in tables.items() if kind not in _MONEY}
    return Tables.model_validate(_over(tables, found))


def _over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Two tables as one; an entry of the same name is that of ``above``."""
    entries = {kind: {**below.get(kind, {}), **found} for kind, found in above.items() if isinstance(found, dict)}
    return {**below, **above, **entries}


def _read(folder: Path, *, own: bool) -> dict[str, Any]:
    def made(content: Mapping[str, Any]) -> dict[str, Any]:
        marked = {kind: _marked(entries, own) for kind, entries in content.items()}
        Tables.model_validate(marked)
        return marked

    tables: dict[str, Any] = {}
    for name in _FILES:
        if not own or (folder / name).exists():
            found = read_toml(folder / name, made, what="table", error=PlanError, advice=_ADVICE)
            tables = _over(tables, found)
    return tables


def _marked(entries: Any, own: bool) -> Any:
    """Entries with whose they are, whatever they say themselves; what is no table of entries as it is."""
    if not isinstance(entries, dict):
        return entries
    return {key: {**entry, "own": own} if isinstance(entry, dict) else entry for key, entry in entries.items()}
