"""Do the suites of function calls judge as the leaderboard does, answer by answer?

BFCL's own checkers, in an environment of its own, and ours are handed the same answers as text: right ones made out of
the data's possible answers, and the same ones changed in one way or another (``SINGLE`` and ``SEVERAL`` below). Both
sides read the text and judge it. Answers in forms that only our reader accepts (JSON, fences that name a language) or
that only theirs does (calls within calls) are not among them. What still differs on purpose: our calculator takes no
texts for numbers, as a text times a large number takes all memory.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from benchmarks import common
from benchmarks.common import Limit, say
from trilemma import registry
from trilemma.schema import SuiteSpec
from trilemma.suites import data
from trilemma.suites.bfcl.calls import Call, CallError, read_calls
from trilemma.suites.bfcl.multi_turn import BfclMultiTurn, Scenario, judge
from trilemma.suites.bfcl.single_turn import SingleTurn
from trilemma.suites.generation import Reply

SUITES = ("bfcl_simple", "bfcl_multiple", "bfcl_parallel", "bfcl_irrelevance")
REFERENCE = (
    "--no-deps",
    "bfcl-eval==2026.3.23",
    "filelock==3.20.0",
    "mpmath==1.3.0",
    "tenacity==9.1.2",
    "tree_sitter==0.21.3",
    "tree-sitter-java==0.21.0",
    "tree-sitter-javascript==0.21.4",
)
"""The package, and what its checkers and decoders import."""
LIMITS = {
    "single_turn_agreement": Limit(at_least=0.99),
    "multi_turn_agreement": Limit(at_least=0.99),
    "single_turn_verdicts": Limit(at_least=500),
    "multi_turn_verdicts": Limit(at_least=50),
}
Calls = list[Call]
Turns = list[list[Call]]


def right_calls(answers: list[Mapping[str, Mapping[str, list[Any]]]], chance: random.Random) -> Calls:
    """Calls that are right: allowed values by chance, parameters that may be left out left out by chance."""
    calls = []
    for answer in answers:
        ((name, allowed),) = answer.items()
        given = {}
        for key, values in allowed.items():
            usable = [one for one in values if one != ""]
            if usable and ("" not in values or chance.random() < 0.5):
                given[key] = _given(chance.choice(usable))
        calls.append(Call(name, given))
    return calls


def _given(value: Any) -> Any:
    """An allowed value as a call holds it: records list what each of their keys may hold."""
    if isinstance(value, list):
        return [_given(one) if isinstance(one, dict) else one for one in value]
    if isinstance(value, dict):
        return {key: one[0] for key, one in value.items() if isinstance(one, list) and one and "" not in one}
    return value


def _one(change: Callable[[Any, random.Random], Any]) -> Callable[[Calls, random.Random], Calls]:
    """Change one argument of one call, where there is any."""

    def changed(calls: Calls, chance: random.Random) -> Calls:
        places = [(number, key) for number, call in enumerate(calls) for key in call.arguments]
        if not places:
            return calls
        number, key = chance.choice(places)
        arguments = {**calls[number].arguments, key: change(calls[number].arguments[key], chance)}
        return [*calls[:number], replace(calls[number], arguments=arguments), *calls[number + 1 :]]

    return changed


def _every(change: Callable[[str], str]) -> Callable[[Any], Any]:
    """Change every text in a value."""

    def changed(value: Any) -> Any:
        if isinstance(value, str):
            return change(value)
        if isinstance(value, list):
            return [changed(one) for one in value]
        if isinstance(value, dict):
            return {key: changed(one) for key, one in value.items()}
        return value

    return changed


def _texts(change: Callable[[str], str]) -> Callable[[Calls, random.Random], Calls]:
    every = _every(change)
    return lambda calls, _: [replace(call, arguments=every(call.arguments)) for call in calls]


def _without(calls: Calls, chance: random.Random) -> Calls:
    number = chance.randrange(len(calls))
    if not calls[number].arguments:
        return calls
    key = chance.choice(list(calls[number].arguments))
    left = {name: value for name, value in calls[number].arguments.items() if name != key}
    return [*calls[:number], replace(calls[number], arguments=left), *calls[number + 1 :]]


def _dropped(calls: Calls, chance: random.Random) -> Calls:
    number = chance.randrange(len(calls))
    return [*calls[:number], *calls[number + 1 :]]


def _other_type(value: Any, chance: random.Random) -> Any:
    others: list[Any] = [str(value), [value], {"value": value}, None]
    if isinstance(value, str):
        others = [len(value), [value], True, None]
    return chance.choice(others)


def _other_value(value: Any, chance: random.Random) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + chance.choice([1, -1, 0.5])
    if isinstance(value, list):
        return chance.choice([value[::-1], value[1:], [*value, *value[:1]], []])
    if isinstance(value, dict):
        return dict(list(value.items())[1:])
    return f"{value} x"


def _number_type(value: Any, _: random.Random) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float):
        return int(value)
    if isinstance(value, int):
        return float(value)
    return [_number_type(one, _) for one in value] if isinstance(value, list) else value


SINGLE: Mapping[str, Callable[[Calls, random.Random], Calls]] = {
    "right": lambda calls, _: calls,
    "other case": _texts(str.swapcase),
    "other punctuation": _texts(lambda text: text.replace(" ", "-") + "."),
    "other quotes": _texts(lambda text: text.replace("'", '"')),
    "wrong type": _one(_other_type),
    "wrong value": _one(_other_value),
    "int for float and back": _one(_number_type),
    "tuple": _one(lambda value, _: tuple(value) if isinstance(value, list) else value),
    "missing parameter": _without,
    "unknown parameter": lambda calls, _: [replace(calls[0], arguments={**calls[0].arguments, "zz": 1}), *calls[1:]],
    "without names": lambda calls, _: [Call(call.name, {}, tuple(call.arguments.values())) for call in calls],
    "other order": lambda calls, _: calls[::-1],
    "extra call": lambda calls, chance: [*calls, chance.choice(calls)],
    "missing call": _dropped,
    "other function": lambda calls, _: [replace(calls[0], name=calls[0].name + "_x"), *calls[1:]],
}
"""What is done to right calls."""
AS_TEXT: Mapping[str, Callable[[str], str]] = {
    "no brackets": lambda text: text[1:-1],
    "fenced": lambda text: f"```\n{text}\n```",
    "words before": lambda text: f"Here it is: {text}",
    "words only": lambda _: "None of the functions can do this.",
    "cut": lambda text: text[: len(text) * 2 // 3],
    "empty": lambda _: "",
    "no calls": lambda _: "[]",
    "bare names": lambda text: text.replace("='", "=").replace("',", ",").replace("')", ")"),
}
"""What is done to the text of right calls."""


def listed(calls: Calls) -> str:
    """Calls as a model should write them."""
    return f"[{', '.join(map(str, calls))}]"


def single_cases(limit: int) -> tuple[list[dict[str, Any]], list[bool]]:
    """Answers to single-turn tasks as the reference takes them, and our verdicts."""
    cases, ours = [], []
    for name in SUITES:
        suite: SingleTurn = registry.load("trilemma.suites", name)()
        spec = SuiteSpec(name=name, limit=limit)
        for task in suite.tasks(spec):
            functions, answers = task.data
            made = random.Random(task.id)
            calls = right_calls(answers, made) if answers else [Call(functions[0]["name"], {"a": 1})]
            texts = {kind: listed(change(calls, made)) for kind, change in SINGLE.items()}
            texts |= {kind: change(listed(calls)) for kind, change in AS_TEXT.items()}
            for kind, text in texts.items():
                category = name.removeprefix("bfcl_")
                cases.append(
                    {"kind": kind, "category": category, "functions": functions, "answers": answers, "text": text}
                )
                ours.append(suite.grade(task, Reply(text), spec).scores["success_rate"] == 1.0)
    return cases, ours


def _named(scenario: Scenario, call: Call) -> Call:
    """``call`` with the names of its positional arguments."""
    (function,) = [one for one in scenario.functions if one["name"] == call.name]
    names = list(function["parameters"]["properties"])
    return Call(call.name, {**dict(zip(names, call.positional, strict=False)), **call.arguments})


def _in_a_turn(change: Callable[[Calls, random.Random], Calls]) -> Callable[[Turns, random.Random], Turns]:
    """Change one turn that has calls."""

    def changed(turns: Turns, chance: random.Random) -> Turns:
        number = chance.choice([place for place, calls in enumerate(turns) if calls])
        return [*turns[:number], change(turns[number], chance), *turns[number + 1 :]]

    return changed


def _later(turns: Turns, chance: random.Random) -> Turns:
    """The first turn's last call made at the beginning of the second turn instead."""
    if len(turns) < 2 or not turns[0]:
        return turns
    return [turns[0][:-1], [turns[0][-1], *turns[1]], *turns[2:]]


SEVERAL: Mapping[str, Callable[[Turns, random.Random], Turns]] = {
    "right": lambda turns, _: turns,
    "other order": _in_a_turn(lambda calls, _: calls[::-1]),
    "twice": _in_a_turn(lambda calls, chance: [*calls, chance.choice(calls)]),
    "missing call": _in_a_turn(_dropped),
    "nothing in a turn": _in_a_turn(lambda calls, _: []),
    "unknown function too": _in_a_turn(lambda calls, _: [*calls, Call("no_such_function", {"a": 1})]),
    "wrong value": _in_a_turn(_one(_other_value)),
    "wrong type": _in_a_turn(_one(_other_type)),
    "other case": _in_a_turn(_texts(str.swapcase)),
    "missing parameter": _in_a_turn(_without),
    "without names": _in_a_turn(lambda calls, _: [Call(c.name, {}, tuple(c.arguments.values())) for c in calls]),
    "later": _later,
    "the next turn's calls too": lambda turns, _: [*turns[:-1], [*turns[-1], *turns[0]]],
}
"""What is done to the calls that solve a task."""


def several_cases(limit: int) -> tuple[list[dict[str, Any]], list[bool]]:
    """Courses of multi-turn tasks as the reference takes them, and our verdicts."""
    suite = BfclMultiTurn()
    rows = {f"{suite.name}/{row.index}": row.values for row in data.load(suite.dataset).rows}
    solutions = {f"{suite.name}/{row.index}": row.values["ground_truth"] for row in data.load(suite.solutions).rows}
    cases, ours = [], []
    for task in suite.tasks(SuiteSpec(name=suite.name, limit=limit)):
        scenario: Scenario = task.data
        turns = [[_named(scenario, call) for call in calls] for calls in scenario.solution]
        for kind, change in SEVERAL.items():
            texts = [[listed(calls)] for calls in change(turns, random.Random(f"{task.id} {kind}"))]
            cases.append({"kind": kind, "entry": rows[task.id], "solution": solutions[task.id], "turns": texts})
            ours.append(not judge(scenario, [_read(one) for (one,) in texts]))
    return cases, ours


def _read(text: str) -> Calls:
    try:
        return [Call(call.name, call.arguments) for call in read_calls(text)]
    except CallError:
        return []


def theirs(cases: Mapping[str, list[dict[str, Any]]]) -> dict[str, list[bool | None]]:
    """The reference's verdicts on ``cases``."""
    python = common.environment("agents", REFERENCE)
    verdicts: dict[str, list[bool | None]] = common.other_side(python, "agents_tools", cases)
    return verdicts


def compare(name: str, cases: list[dict[str, Any]], mine: list[bool], other: list[bool | None]) -> dict[str, float]:
    """Figures of one kind of suite, and a line for each way of changing answers."""
    kinds: dict[str, list[tuple[bool, bool]]] = {}
    differing = []
    for case, own, verdict in zip(cases, mine, other, strict=True):
        if verdict is None:
            continue
        kinds.setdefault(case["kind"], []).append((own, verdict))
        if own != verdict:
            differing.append((case, own))
    say(f"{name}:")
    for kind, pairs in kinds.items():
        same, right = sum(own == verdict for own, verdict in pairs), sum(verdict for _, verdict in pairs)
        say(f"  {kind:<28} {same:>5} of {len(pairs):>5} agree; the leaderboard takes {right} for right")
    for case, own in differing[:10]:
        told = case.get("text") or case.get("turns")
        say(f"  ours says {'right' if own else 'wrong'}, theirs does not ({case['kind']}): {str(told)[:300]}")
    verdicts = [pair for pairs in kinds.values() for pair in pairs]
    return {
        f"{name}_agreement": sum(own == verdict for own, verdict in verdicts) / len(verdicts),
        f"{name}_verdicts": len(verdicts),
        f"{name}_right_share": sum(verdict for _, verdict in verdicts) / len(verdicts),
        f"{name}_reference_failed": len(cases) - len(verdicts),
    }


def measure(items: int) -> dict[str, float]:
    """Both kinds of suites, on up to ``items`` items each."""
    single, mine_single = single_cases(items)
    several, mine_several = several_cases(items)
    say(f"{len(single)} answers to single-turn tasks and {len(several)} courses of multi-turn tasks ...")
    other = theirs({"single": single, "several": several})
    return compare("single_turn", single, mine_single, other["single"]) | compare(
        "multi_turn", several, mine_several, other["several"]
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=200, help="of each suite")
    options = parser.parse_args()
    common.main("agents", LIMITS, lambda: measure(options.items))
