"""The simulated systems that agents act on: plain classes of the installed package ``bfcl-eval``, and calls of them.

A method is looked up by its name and handed the literals that were parsed. What a model asks for is bounded: by the
Python calls that a method may make, and for the calculator by what it may be given, since one power or one repeated
text can take all memory within a single operation.
"""

from __future__ import annotations

import copy
import decimal
import importlib
import inspect
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from trilemma.errors import SuiteDataError
from trilemma.suites.bfcl.calls import Call
from trilemma.suites.bfcl.functions import PACKAGE

MODULES: Mapping[str, str] = {
    "GorillaFileSystem": "gorilla_file_system",
    "MathAPI": "math_api",
    "MessageAPI": "message_api",
    "TwitterAPI": "posting_api",
    "TicketAPI": "ticket_api",
    "TradingBot": "trading_bot",
    "TravelAPI": "travel_booking",
    "VehicleControlAPI": "vehicle_control",
}
"""The module of each system, which is also the name of the file that describes its functions."""
INSTALL = f"{PACKAGE.install} mpmath"
_CALCULATOR = "MathAPI"
_WHERE = "bfcl_eval.eval_checker.multi_turn_eval.func_source_code"
_MOST_PYTHON_CALLS = 100_000
_MOST_DIGITS = 1_000
_WORDS = ("unit_in", "unit_out")
_EXPONENTS = ("precision", "decimal_places", "exponent")


class RunawayError(BaseException):
    """A method went on for too long; no method may catch it, so that it is no :class:`Exception`."""


class Systems:
    """The systems of one task, in the state that its calls have brought them to.

    Args:
        names: Which of :data:`MODULES`.
        states: What each begins with, by name.

    Raises:
        SuiteDataError: the package is missing, or a system is unknown or refuses its state.
    """

    def __init__(self, names: Sequence[str], states: Mapping[str, Any]) -> None:
        self._systems = {name: _made(name, states.get(name, {})) for name in names}
        self._methods: dict[str, tuple[str, Callable[..., Any]]] = {}
        for name, system in self._systems.items():
            members = inspect.getmembers(system, predicate=inspect.ismethod)
            self._methods |= {key: (name, one) for key, one in members if not key.startswith("_")}

    def understands(self, call: Call) -> bool:
        """Whether there is such a function, and it takes these arguments."""
        if call.name not in self._methods:
            return False
        try:
            inspect.signature(self._methods[call.name][1]).bind(*call.positional, **call.arguments)
        except TypeError:
            return False
        return True

    def perform(self, call: Call) -> str:
        """What ``call`` gives, as text; mistakes are told as the leaderboard's own runner tells them."""
        name, method = self._methods.get(call.name, ("", None))
        if method is None:
            return f"Error during execution: name '{call.name}' is not defined"
        if name == _CALCULATOR and not _can_be_reckoned(method, call):
            return "Error during execution: these arguments cannot be reckoned with"
        try:
            with _bounded():
                return _as_text(method(*call.positional, **copy.deepcopy(call.arguments)))
        except RunawayError:
            return "Error during execution: it took too long"
        except Exception as error:  # whatever another package's code raises is a mistake of the call
            return f"Error during execution: {error}"

    def differs(self, other: Systems) -> str:
        """The first attribute in which the state is not that of ``other``; empty if there is none.

        What a system keeps to itself (a leading underscore) does not count.
        """
        for name, wanted in other._systems.items():
            for key, value in vars(wanted).items():
                if not key.startswith("_") and not _equal(getattr(self._systems[name], key, None), value):
                    return f"{name}.{key}"
        return ""


def _made(name: str, state: Any) -> Any:
    if name not in MODULES:
        raise SuiteDataError(f"The task acts on an unknown system, {name!r}.", f"Install the tasks again: {INSTALL}")
    try:
        system = getattr(importlib.import_module(f"{_WHERE}.{MODULES[name]}"), name)()
    except (ImportError, AttributeError) as error:
        raise SuiteDataError(f"The simulated system {name} cannot be loaded ({error}).", INSTALL) from error
    if name != _CALCULATOR:
        try:
            system._load_scenario(copy.deepcopy(state), long_context=False)
        except Exception as error:  # the package's code, over its own data
            raise SuiteDataError(f"{name} refuses its first state ({error}).", INSTALL) from error
    return system


@contextmanager
def _bounded() -> Iterator[None]:
    """Count the Python calls made meanwhile, and keep precisions that are set from lasting.

    Raises:
        RunawayError: there are too many.
    """
    left = _MOST_PYTHON_CALLS

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal left
        left -= event == "call"
        if left < 0:
            raise RunawayError

    before = sys.getprofile()
    with decimal.localcontext():
        sys.setprofile(count)
        try:
            yield
        finally:
            sys.setprofile(before)


def _equal(mine: Any, wanted: Any) -> bool:
    try:
        with _bounded():
            return bool(mine == wanted)
    except (RecursionError, RunawayError):
        return False


def _can_be_reckoned(method: Callable[..., Any], call: Call) -> bool:
    """Whether the calculator is given numbers where it wants numbers, and no huge powers or precisions."""
    try:
        given = inspect.signature(method).bind(*call.positional, **call.arguments).arguments
    except TypeError:
        return True
    for name, value in given.items():
        if name in _WORDS:
            continue
        several = value if isinstance(value, list | tuple) and name == "numbers" else [value]
        if not all(isinstance(one, int | float) for one in several):
            return False
        if name in _EXPONENTS and abs(value) > _MOST_DIGITS:
            return False
    return True


def _as_text(result: Any) -> str:
    if isinstance(result, str):
        return result
    if isinstance(result, dict):
        try:
            return json.dumps(result)
        except (TypeError, ValueError):
            return str(result)
    return str(result)
