"""Tables of prices and grid intensities: TOML files, each entry with its source and date.

Those in ``data/`` come with Trilemma and are examples. A team's own, ``planning/prices.toml`` and
``planning/grid.toml`` in the data folder, are read over them. A currency of one's own drops the examples' prices, which
are in another.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, ValidationError

from trilemma.base import Frozen
from trilemma.errors import PlanError

_MAX_FILE_BYTES = 256 * 1024
_FILES = ("prices.toml", "grid.toml")
_MONEY = ("cloud", "machine", "electricity")


class Entry(Frozen):
    """What every entry of a table says of itself."""

    title: str = Field(min_length=1, max_length=120)
    source: str = Field(min_length=1, max_length=300, description="Who states it.")
    date: str = Field(pattern=r"^\d{4}(-\d{2}){0,2}$", description="When it was so: 2026, 2026-03 or 2026-03-15.")
    own: bool = Field(default=False, description="The team's own, not an example that comes with Trilemma.")


class CloudPrice(Entry):
    """What a machine like the measured one is rented for."""

    per_hour: float = Field(ge=0, le=1e6)


class MachinePrice(Entry):
    """What a machine like the measured one is bought for."""

    price: float = Field(ge=0, le=1e9)


class ElectricityPrice(Entry):
    """What a kWh costs."""

    per_kwh: float = Field(ge=0, le=1e3)


class Overhead(Entry):
    """Power usage effectiveness: all of a data centre's energy over that of its machines."""

    factor: float = Field(ge=1, le=5)


class GridIntensity(Entry):
    """What a kWh of electricity emits."""

    g_per_kwh: float = Field(ge=0, le=5000)


class Tables(Frozen):
    """All entries by name, and the currency of the prices."""

    currency: str = Field(default="USD", min_length=1, max_length=8)
    cloud: dict[str, CloudPrice] = Field(default_factory=dict)
    machine: dict[str, MachinePrice] = Field(default_factory=dict)
    electricity: dict[str, ElectricityPrice] = Field(default_factory=dict)
    pue: dict[str, Overhead] = Field(default_factory=dict)
    grid: dict[str, GridIntensity] = Field(default_factory=dict)


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
    return next((one for one in entries.values() if one.own), next(iter(entries.values()), None))


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
    for kind, entries in found.items():
        tables[kind] = entries if kind == "currency" else {**tables.get(kind, {}), **entries}
    return Tables.model_validate(tables)


def _read(folder: Path, *, own: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in _FILES:
        path = folder / name
        if own and not path.exists():
            continue
        try:
            with path.open("rb") as file:
                data = file.read(_MAX_FILE_BYTES + 1)
            if len(data) > _MAX_FILE_BYTES:
                raise PlanError(f"{path.name} is larger than {_MAX_FILE_BYTES // 1024} KiB.", _ADVICE)
            content = tomllib.loads(data.decode())
            for kind, entries in content.items():
                if isinstance(entries, dict):
                    content[kind] = {key: {**entry, "own": own} for key, entry in entries.items()}
            Tables.model_validate(content)
        except OSError as error:
            raise PlanError(f"The table {path.name} cannot be read ({error.strerror}).", _ADVICE) from error
        except ValidationError as error:
            first_error = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first_error["loc"]))
            raise PlanError(f"The table {path.name}: {where}: {first_error['msg']}.", _ADVICE) from error
        except (ValueError, TypeError, RecursionError) as error:
            reason = str(error).splitlines()[0][:200]
            raise PlanError(f"The table {path.name} is not valid: {reason}", _ADVICE) from error
        found |= content
    return found


_ADVICE = "Mend or remove the file in the folder planning of the data folder; docs/planning.md shows one."
