"""Do the suites whose answers are written judge as the field's own evaluation does, and does MMLU ask as it does?

GSM8K: a seeded generator writes answers with numbers in many forms (marked, in a sentence, with thousands separators,
decimals, currency, fractions, units, cut off, or none); lm-evaluation-harness's own ``gsm8k`` task judges them by its
flexible-extract and strict-match filters, and the suite by ``accuracy`` and ``accuracy_strict``. SQuAD: the same with
answers near their gold ones, judged by the SQuAD metric that transformers ships, exact match and F1. MMLU: prompts and
continuations for made rows of every subject, with and without worked examples, as the harness's own tasks build them.

The texts are made, for the data sets are not at hand everywhere: this compares judges, not models. So that agreement
says something, both verdicts must be common: ``*_right`` is the reference's share of right answers.
"""

from __future__ import annotations

import argparse
import functools
import random
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from huggingface_hub import constants

from benchmarks import common
from benchmarks.common import Limit, say
from trilemma.schema import SuiteSpec
from trilemma.suites.data import Dataset
from trilemma.suites.generation import GenerationSuite, Reply, Task
from trilemma.suites.gsm8k import Gsm8k, plain_number
from trilemma.suites.mmlu import Mmlu
from trilemma.suites.squad import Squad
from trilemma.workloads.text import passage

# The metric is the same in every version of transformers 4; importing it needs no torch.
REQUIREMENTS = ("lm-eval==0.4.13", "transformers==4.57.6")
PAIRS = {
    "gsm8k_flexible": ("gsm8k", "accuracy", "flexible-extract"),
    "gsm8k_strict": ("gsm8k", "accuracy_strict", "strict-match"),
    "squad_exact": ("squad", "accuracy", "accuracy"),
    "squad_f1": ("squad", "f1", "f1"),
}
"""By figure: the suite, our score, and what the reference calls it."""
LIMITS = {
    **{f"{name}_agreement": Limit(at_least=0.99) for name in PAIRS},
    **{f"{name}_right": Limit(at_least=0.1, at_most=0.9) for name in PAIRS},
    "answers_each": Limit(at_least=500),
    "mmlu_prompts_equal": Limit(at_least=1.0),
    "mmlu_subjects": Limit(at_least=57),
}
SUBJECTS = (
    "abstract_algebra", "anatomy", "astronomy", "business_ethics", "clinical_knowledge", "college_biology",
    "college_chemistry", "college_computer_science", "college_mathematics", "college_medicine", "college_physics",
    "computer_security", "conceptual_physics", "econometrics", "electrical_engineering", "elementary_mathematics",
    "formal_logic", "global_facts", "high_school_biology", "high_school_chemistry", "high_school_computer_science",
    "high_school_european_history", "high_school_geography", "high_school_government_and_politics",
    "high_school_macroeconomics", "high_school_mathematics", "high_school_microeconomics", "high_school_physics",
    "high_school_psychology", "high_school_statistics", "high_school_us_history", "high_school_world_history",
    "human_aging", "human_sexuality", "international_law", "jurisprudence", "logical_fallacies", "machine_learning",
    "management", "marketing", "medical_genetics", "miscellaneous", "moral_disputes", "moral_scenarios", "nutrition",
    "philosophy", "prehistory", "professional_accounting", "professional_law", "professional_medicine",
    "professional_psychology", "public_relations", "security_studies", "sociology", "us_foreign_policy", "virology",
    "world_religions",
)  # fmt: skip
ROWS, EXAMPLES = 3, 5
"""Of each subject: questions, and worked examples."""
SHOTS = (0, 5)


def number_forms(rng: random.Random, value: int) -> list[str]:
    """Ways in which a model writes ``value``, right and nearly right."""
    return [
        str(value), f"{value:,}", f"${value}", f"${value:,}.00", f"{value}.0", f"{value}.", f"-{value}", f"{value}%",
        f"**{value}**", f"{value}/{rng.randint(2, 9)}", f"{value} {rng.choice(('apples', 'km', 'dollars', '°C'))}",
        f"{value}.{rng.randint(1, 99)}", f"{value},", f"$ {value}", f"\\boxed{{{value}}}", f"1 {value:03d}",
        f"{value}e3", f"{rng.randint(1, 12)}:{value % 60:02d}", f"({value})", "twelve", "...", "$", f"${value:,}.",
        f"\u0661{value}", f"{value}-{value + 1}", f"+{value}", f"{value}\u00a0000", f"£{value:,}",
    ]  # fmt: skip


def sums(rng: random.Random, count: int) -> list[dict[str, str]]:
    """Answers to word problems, with the gold answer in the data set's form."""
    made = []
    for _ in range(count):
        gold = rng.choice((rng.randint(1, 99), rng.randint(100, 9_999), rng.randint(10_000, 2_000_000)))
        said = gold if rng.random() < 0.75 else rng.randint(1, 3_000)
        written = rng.choice(number_forms(rng, said)) if rng.random() < 0.6 else rng.choice((str(said), f"{said:,}"))
        a, b = rng.randint(2, 90), rng.randint(2, 90)
        work = rng.choice(("", f"{a} + {b} = {a + b}. ", f"First {a}*{b}=<<{a}*{b}={a * b}>>{a * b} is needed.\n"))
        end = rng.choice((
            "\n#### {}", "\n#### {}\n", "#### {}", "\n####{}", "\n### {}", "So the answer is {}.", "The answer is {}",
            "Therefore {} are left in 2 boxes.", "= {}", "{}", "\n#### {}\n\nQuery: {}", "Answer: {}!", "It is {}...",
        ))  # fmt: skip
        made.append({"gold": f"{work or 'It is easy.'}\n#### {rng.choice((f'{gold:,}', str(gold)))}",
                     "text": " " + work + end.replace("{}", written)})  # fmt: skip
    return made


def spans(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """Answers about a passage, with their gold answers."""
    made = []
    for number in range(count):
        words = passage(number, 12).replace(".", "").split()
        start = rng.randrange(len(words) - 6)
        golds = [" ".join(words[start : start + rng.randint(1, 5)]) for _ in range(rng.randint(1, 3))]
        if rng.random() < 0.1:
            golds.append(
                rng.choice(("the", "1,500", "U.S.", "AT&T", "Łódź", "cat's-eye", "a", "“An”", "50%", "J. S. Bach"))
            )
        gold = rng.choice(golds)
        text = rng.choice((
            gold, f"The {gold}.", f"{gold.upper()}!", f"  an {gold}\t", f"“{gold}”", f"{gold}, {rng.choice(words)}",
            f"It was {gold} {rng.choice(words)}", " ".join(reversed(gold.split())), gold.replace(" ", "-"), "", "the a",
            rng.choice(words), " ".join(rng.sample(words, 4)), f"{gold} {gold}", gold.replace("e", "é"), "unanswerable",
            f"**{gold}**", f"{gold}\u00a0then", gold.title(),
        ))  # fmt: skip
        made.append({"golds": golds, "text": text})
    return made


def exams(rng: random.Random) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Rows of every subject, in the data set's form: blanks around, lines and braces inside, numbers as choices."""

    def row(subject: str, number: int) -> dict[str, Any]:
        lines = passage(rng.getrandbits(32), rng.randint(5, 40))
        asked = rng.choice(("", " ", "\n")) + lines.replace(". ", rng.choice((".\n", ". ", " {{x}} ")), 1)
        choices = [rng.choice((passage(rng.getrandbits(32), 4), f" {rng.randint(1, 99)}", "{%", "")) for _ in range(4)]
        return {"question": asked, "subject": subject, "choices": choices, "answer": rng.randrange(4)}

    counts = {"test": ROWS, "dev": EXAMPLES}
    return {
        subject: {split: [row(subject, number) for number in range(count)] for split, count in counts.items()}
        for subject in SUBJECTS
    }


def theirs(given: Mapping[str, Any]) -> dict[str, Any]:
    """The reference's verdicts and prompts."""
    python = common.environment("answers", REQUIREMENTS)
    answer: dict[str, Any] = common.other_side(python, "answers_harness", given)
    return answer


def ours(suite: GenerationSuite, tasks: Sequence[Task], texts: Sequence[str]) -> list[dict[str, float]]:
    """The suite's scores of ``texts``."""
    spec = SuiteSpec(name=suite.name)
    return [suite.grade(task, Reply(text), spec).scores for task, text in zip(tasks, texts, strict=True)]


def _cache(folder: Path, dataset: Dataset, rows: Sequence[Mapping[str, Any]]) -> None:
    """Put ``rows`` where the hub's library keeps what it has downloaded."""
    repo = folder / f"datasets--{dataset.repo.replace('/', '--')}"
    file = repo / "snapshots" / ("0" * 40) / dataset.hub_file
    file.parent.mkdir(parents=True)
    reference = repo / "refs" / "refs" / "convert" / "parquet"
    reference.parent.mkdir(parents=True, exist_ok=True)
    reference.write_text("0" * 40)
    pq.write_table(pa.Table.from_pylist(list(rows)), file)


def asked(subjects: Mapping[str, Mapping[str, list[dict[str, Any]]]], shots: int) -> dict[str, list[list[list[str]]]]:
    """The suite's (context, continuation) pairs for each row of each subject, in the rows' order."""
    pairs: dict[str, list[list[list[str]]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for split in ("test", "dev"):
            rows = [row for subject in subjects.values() for row in subject[split]]
            _cache(Path(folder), Dataset("", Mmlu.dataset.repo, Mmlu.dataset.config, split), rows)
        before, constants.HF_HUB_CACHE = constants.HF_HUB_CACHE, folder
        try:
            for subject in subjects:
                options = {"subject": subject, "shots": shots}
                items = Mmlu().items(SuiteSpec.model_validate({"name": "mmlu", "options": options}))
                items.sort(key=lambda item: int(item.id.rpartition("/")[2]))
                pairs[subject] = [[list(pair) for pair in zip(i.contexts, i.continuations, strict=True)] for i in items]
        finally:
            constants.HF_HUB_CACHE = before
    return pairs


def measure(arguments: argparse.Namespace) -> dict[str, float | int]:
    """Both sides judge the same answers and word the same rows."""
    rng = random.Random(arguments.seed)
    numbers, words, subjects = sums(rng, arguments.answers), spans(rng, arguments.answers), exams(rng)
    say(f"{arguments.answers} answers to GSM8K and SQuAD each, {ROWS} rows of {len(subjects)} subjects of MMLU ...")
    given = {"gsm8k": numbers, "squad": words, "mmlu": subjects, "shots": [str(shots) for shots in SHOTS]}
    reference = theirs(given)
    sums_tasks = [
        Task(f"gsm8k/{i}", "?", plain_number(one["gold"].rpartition("####")[2])) for i, one in enumerate(numbers)
    ]
    span_tasks = [Task(f"squad/{i}", "?", one["golds"][0], tuple(one["golds"])) for i, one in enumerate(words)]
    mine = {
        "gsm8k": ours(Gsm8k(), sums_tasks, [one["text"] for one in numbers]),
        "squad": ours(Squad(), span_tasks, [one["text"] for one in words]),
    }
    texts = {"gsm8k": numbers, "squad": words}
    figures: dict[str, float | int] = {"answers_each": min(map(len, mine.values()))}
    for name, (suite, score, called) in PAIRS.items():
        want = reference[suite][called]
        same = [abs(have[score] - b) < 1e-9 for have, b in zip(mine[suite], want, strict=True)]
        figures[f"{name}_agreement"] = sum(same) / len(same)
        figures[f"{name}_right"] = sum(value == 1.0 for value in want) / len(want)
        for one, agrees in list(zip(texts[suite], same, strict=True)):
            if not agrees:
                say(f"  {name}: they differ on {one}")
    equal = []
    for shots in SHOTS:
        have = asked(subjects, shots)
        equal += [a == b for s in subjects for a, b in zip(have[s], reference["mmlu"][str(shots)][s], strict=True)]
    return figures | {"mmlu_prompts_equal": sum(equal) / len(equal), "mmlu_subjects": len(reference["mmlu"]["0"])}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.answers", description=__doc__)
    parser.add_argument("--answers", type=int, default=1000, help="answers of each suite that are judged")
    parser.add_argument("--seed", type=int, default=0, help="of what is made up")
    common.main("answers", LIMITS, functools.partial(measure, parser.parse_args()))
