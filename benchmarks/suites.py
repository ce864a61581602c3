"""Do the multiple-choice suites agree with lm-evaluation-harness, item by item, and how fast are they?

Agreement: lm-evaluation-harness's own ``hellaswag`` and ``piqa`` tasks build prompts and judge answers for the same
documents, over the same weights, scored through an in-process ``LM`` that evaluates every choice in full. Prompts are
compared as text, answers item by item, for accuracy and length-normalised accuracy. The limit is held on F16, where
rounding moves a choice's log-probability by about 0.01. On Q8_0 the agreement is shown but not limited: there llama.cpp
rounds activations to 8 bits, and the last bit of a sum, which depends on what else is in the batch, can move a
log-probability by some tenths, whoever evaluates it. ``logprob_difference`` shows both.

Speed: our evaluation, evaluating every choice in full, and llama-bench's prompt processing run alternately. Ours is
counted in distinct tokens: each token of a context once, beginnings that choices share once, and the last token of a
choice, which is never evaluated, not at all. With five worked examples, ours and evaluating in full alternately.

The bound of ``speed_of_llama_bench``: llama-bench computes the output layer for the last token of a prompt only, a
suite for every token whose successor is scored. ``output_layer_bound`` is what is left of llama-bench's speed when that
work is added, by counting multiplications; soft-max and Python come on top of it. ``zero_shot_counted`` counts
likewise what evaluating in full multiplies over what ours does: what sharing alone gains. That larger batches use the
cores better comes on top, so that the limit is near what these suites' two and four short choices allow.

Written answers: GSM8K's prompts, answers of a set length, one after the other as lm-evaluation-harness's loop asks them
and over eight slots, alternately. Prompts take as long either way, so that with worked examples they bound the gain:
``generation_prompt_share`` is their share of the time one after the other. ``generation_bound`` is what is left when
the rest becomes as much faster as decoding does by llama-batched-bench, eight sequences against one, on the same file:
how much that is depends on what the processor lacks first for one sequence, memory bandwidth or cores.
"""

from __future__ import annotations

import argparse
import functools
import os
import site
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gguf import GGUFReader

from benchmarks import common
from benchmarks.common import Limit, say
from benchmarks.fidelity import ladder
from benchmarks.fidelity_engine import load
from benchmarks.llama_tools import build
from benchmarks.suites_harness import score_in_full
from benchmarks.suites_tools import generation
from trilemma import registry
from trilemma.engines.base import ChoiceRequest, LoadedModel
from trilemma.engines.llama_cpp.scoring import distinct_tokens, tree_of
from trilemma.records import AnswerRecord
from trilemma.schema import SuiteSpec
from trilemma.suites import data
from trilemma.suites.base import SuiteContext
from trilemma.suites.hellaswag import LAST_SENTENCE
from trilemma.suites.multiple_choice import Encoded, Item, MultipleChoice, encode

TASKS = ("hellaswag", "piqa")
HARNESS = "lm-eval==0.4.13"
LIMITS = {
    "prompts_equal": Limit(at_least=1.0),
    "agreement": Limit(at_least=0.99),
    "speed_of_llama_bench": Limit(at_least=0.85),
    "zero_shot_speedup": Limit(at_least=2.0),
    "five_shot_speedup": Limit(at_least=5.0),
    "generation_speedup": Limit(at_least=2.0),
}
LIMITED, SHOWN = "F16", "Q8_0"
"""The quantization that agreement is limited on, and one that it is shown for; the latter is timed."""
PROMPT = 512


def suite(name: str) -> MultipleChoice:
    """The registered suite."""
    made: MultipleChoice = registry.load("trilemma.suites", name)()
    return made


def document(task: str, row: data.Row) -> dict[str, Any]:
    """``row`` in the form of the hub's data set, which lm-evaluation-harness's task reads."""
    if "choices" not in row:
        return dict(row.values)
    choices = row.texts("choices")
    label = row.position("answer", row.texts("labels"))
    if task == "piqa":
        return {"goal": row.text("goal"), "sol1": choices[0], "sol2": choices[1], "label": label}
    match = LAST_SENTENCE.fullmatch(row.text("question"))
    assert match is not None
    return {
        "ctx_a": match[1],
        "ctx_b": match[2],
        "activity_label": "",
        "endings": list(choices),
        "label": str(label),
    }


def harness() -> Path:
    """The Python of an environment that has lm-evaluation-harness, and sees this one's packages behind its own."""
    python = common.environment("suites", [HARNESS])
    query = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    folder = Path(subprocess.run(query, check=True, capture_output=True, text=True).stdout.strip())
    here = [path for path in site.getsitepackages() if Path(path).is_dir()]
    (folder / "trilemma-environment.pth").write_text("".join(f"import site; site.addsitedir({p!r})\n" for p in here))
    return python


def theirs(python: Path, model: Path, settings: Mapping[str, Any], items: Mapping[str, list[Item]]) -> dict[str, Any]:
    """What lm-evaluation-harness makes of the documents of ``items``."""
    documents = {}
    for task in TASKS:
        rows = data.load(suite(task).dataset).rows
        documents[task] = [document(task, rows[int(item.id.partition("/")[2])]) for item in items[task]]
    answer: dict[str, Any] = common.other_side(
        python, "suites_harness", {"model": str(model), "settings": settings, "documents": documents}
    )
    return answer


def ours(model: Path, settings: Mapping[str, Any], limit: int) -> dict[str, list[AnswerRecord]]:
    """The suites' answers."""
    answers = {}
    with load(str(model), dict(settings)) as loaded:
        for task in TASKS:
            context = SuiteContext(SuiteSpec(name=task, limit=limit), None, "", lambda _: None)
            answers[task] = list(suite(task).answers(loaded, context))
    return answers


def agreement(python: Path, made: Mapping[str, Path], settings: Mapping[str, Any], limit: int) -> dict[str, float]:
    """Shares of items on which both sides agree; ``agreement`` is the least of all tasks and metrics on F16."""
    items = {task: suite(task).items(SuiteSpec(name=task, limit=limit)) for task in TASKS}
    figures: dict[str, float] = {}
    prompts: list[bool] = []
    for quantization, path in made.items():
        say(f"{quantization}: the suites, then lm-evaluation-harness, on {limit} items of {' and '.join(TASKS)} ...")
        mine, other = ours(path, settings, limit), theirs(python, path, settings, items)
        for task in TASKS:
            pairs = [[list(pair) for pair in zip(i.contexts, i.continuations, strict=True)] for i in items[task]]
            prompts += [have == want["pairs"] for have, want in zip(pairs, other[task], strict=True)]
            for metric in ("accuracy", "accuracy_norm"):
                same = [a.scores[metric] == b[metric] for a, b in zip(mine[task], other[task], strict=True)]
                figures[f"agreement_{quantization}_{task}_{metric}"] = statistics.fmean(same)
            apart = [
                abs(float(x) - y)
                for a, b in zip(mine[task], other[task], strict=True)
                for x, y in zip(_logprobs(a), b["logprobs"], strict=True)
            ]
            figures[f"logprob_difference_{quantization}_{task}"] = statistics.fmean(apart)
            right = statistics.fmean(answer.scores["accuracy_norm"] for answer in mine[task])
            figures[f"accuracy_norm_{quantization}_{task}"] = right
    least = min(value for name, value in figures.items() if name.startswith(f"agreement_{LIMITED}_"))
    for name, value in figures.items():
        say(f"  {name} = {value:.4f}")
    return figures | {"agreement": least, "prompts_equal": statistics.fmean(prompts)}


def _logprobs(answer: AnswerRecord) -> list[float]:
    found: Any = answer.detail["logprobs"]
    return list(found)


def _requests(encoded: Sequence[Encoded]) -> list[ChoiceRequest]:
    return [request for one in encoded for request in one.requests]


def speed(model: Path, settings: Mapping[str, Any], rounds: int, items_a_round: int) -> dict[str, float]:
    """Ours against llama-bench and against evaluating in full; other items every round, the same for both sides.

    The limits are on the suites together; each one's own share of the time in full is given beside it.
    """
    tools = build()
    figures: dict[str, list[float]] = {}
    noise: list[float] = []
    with load(str(model), dict(settings)) as loaded:
        threads = str(loaded.describe()["prefill_threads"])
        flags = ("-t", threads, "-b", "2048", "-ub", "512", "-fa", "auto", "-lm", "mmap")
        limit = rounds * items_a_round
        chosen = {task: suite(task).items(SuiteSpec(name=task, limit=limit)) for task in TASKS}

        def bench() -> list[float]:
            (result,) = tools.bench_json(model, "-p", str(PROMPT), "-n", "0", "-r", "5", *flags)
            return [float(result["avg_ts"])]

        for number in range(rounds):
            part = slice(number * items_a_round, (number + 1) * items_a_round)
            requests = [_requests([encode(loaded, item) for item in chosen[task][part]]) for task in TASKS]
            sides: dict[str, Callable[[], list[float]]] = {
                "bench": bench,
                "ours": functools.partial(_seconds, _packed, loaded, requests),
                "full": functools.partial(_seconds, _in_full, loaded, requests),
                "bench again": bench,
            }
            found: dict[str, list[float]] = {}
            for name in list(sides) if number % 2 == 0 else ["bench", "full", "ours", "bench again"]:
                with common.watched() as disturbance:
                    found[name] = sides[name]()
                noise.append(disturbance.cores)
            theirs_tps = statistics.fmean(found["bench"] + found["bench again"])
            tokens = sum(distinct_tokens(one) for one in requests)
            took, in_full = sum(found["ours"]), sum(found["full"])
            say(
                f"  round {number + 1}: llama-bench {theirs_tps:.0f} tokens/s; ours {tokens / took:.0f} distinct "
                f"tokens/s in {took:.1f} s; in full {in_full:.1f} s; others kept {max(noise[-4:]):.2f} cores busy"
            )
            values = {
                "llama_bench_prompt_tokens_per_s": theirs_tps,
                "distinct_tokens_per_s": tokens / took,
                "speed_of_llama_bench": tokens / took / theirs_tps,
                "zero_shot_speedup": in_full / took,
            } | bounds(model, [one for several in requests for one in several])
            for task, mine, whole in zip(TASKS, found["ours"], found["full"], strict=True):
                values[f"zero_shot_speedup_{task}"] = whole / mine
            for name, value in values.items():
                figures.setdefault(name, []).append(value)
    common.require_quiet_throughout(noise)
    return {name: statistics.median(values) for name, values in figures.items()}


def bounds(model: Path, requests: Sequence[ChoiceRequest]) -> dict[str, float]:
    """What counting multiplications says of the speed of llama-bench, and of the gain over evaluating in full."""
    parameters = {tensor.name: int(tensor.n_elements) for tensor in GGUFReader(model).tensors}
    embedding = parameters["token_embd.weight"]
    layers = sum(parameters.values()) - embedding - parameters.get("output.weight", 0)
    body = layers * distinct_tokens(requests)
    ours = body + embedding * sum(len(tree_of(request).wanted) for request in requests)
    choices = [(request, choice) for request in requests for choice in request.continuations]
    full = sum(
        layers * (len(request.context) + len(choice) - 1) + embedding * len(choice) for request, choice in choices
    )
    return {"output_layer_bound": body / ours, "zero_shot_counted": full / ours}


def five_shot(model: Path, settings: Mapping[str, Any], rounds: int, items_a_round: int) -> dict[str, float]:
    """Ours against evaluating in full, each question after five worked examples."""
    speedups: list[float] = []
    noise: list[float] = []
    with load(str(model), dict(settings)) as loaded:
        limit = rounds * items_a_round
        spec = {task: SuiteSpec(name=task, limit=limit, options={"shots": 5}) for task in TASKS}
        chosen = {task: suite(task).items(spec[task]) for task in TASKS}
        for number in range(rounds):
            part = slice(number * items_a_round, (number + 1) * items_a_round)
            requests = [_requests([encode(loaded, item) for item in chosen[task][part]]) for task in TASKS]
            took: dict[str, float] = {}
            for name in ("ours", "full") if number % 2 == 0 else ("full", "ours"):
                with common.watched() as disturbance:
                    took[name] = sum(_seconds(_packed if name == "ours" else _in_full, loaded, requests))
                noise.append(disturbance.cores)
            say(f"  five worked examples, round {number + 1}: ours {took['ours']:.1f} s, in full {took['full']:.1f} s")
            speedups.append(took["full"] / took["ours"])
    common.require_quiet_throughout(noise)
    return {"five_shot_speedup": statistics.median(speedups)}


def _seconds(
    work: Callable[[LoadedModel, Sequence[ChoiceRequest]], None],
    model: LoadedModel,
    suites: Sequence[Sequence[ChoiceRequest]],
) -> list[float]:
    """How long ``work`` takes on each suite's requests."""
    found = []
    for requests in suites:
        begin = time.perf_counter()
        work(model, requests)
        found.append(time.perf_counter() - begin)
    return found


def _packed(model: LoadedModel, requests: Sequence[ChoiceRequest]) -> None:
    for _ in model.score_choices(requests):
        pass


def _in_full(model: LoadedModel, requests: Sequence[ChoiceRequest]) -> None:
    score_in_full(model, [(request.context, one) for request in requests for one in request.continuations])


def measure(options: argparse.Namespace) -> Mapping[str, float]:
    """Everything, agreement first: it does not mind a noisy machine."""
    made = ladder(LIMITED, SHOWN)
    settings: dict[str, Any] = {"context": 1024}
    figures: dict[str, float] = {}
    if not options.speed_only:
        figures |= agreement(harness(), made, settings, options.items)
    if not options.agreement_only:
        build()
        common.wait_until_quiet()
        figures |= speed(made[SHOWN], settings, options.rounds, options.items_a_round)
        figures |= five_shot(made[SHOWN], {"context": 2048}, max(1, options.rounds // 2), 8)
        for shots in (0, 5):
            figures |= generation(made[SHOWN], settings, options.rounds, shots)
    return figures


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    parser = argparse.ArgumentParser(prog="python -m benchmarks.suites", description=__doc__)
    parser.add_argument("--items", type=int, default=200, help="items of each suite that are compared")
    parser.add_argument("--rounds", type=int, default=5, help="how often the sides are timed")
    parser.add_argument("--items-a-round", type=int, default=20, help="items of each suite in a round of timing")
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--speed-only", action="store_true", help="a part alone never counts as holding")
    part.add_argument("--agreement-only", action="store_true", help="a part alone never counts as holding")
    common.main("suites", LIMITS, functools.partial(measure, parser.parse_args()))
