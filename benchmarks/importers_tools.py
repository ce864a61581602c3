"""The tools of ``benchmarks.importers``: how each is installed and run, and what it says of itself in its file."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import llama_tools
from benchmarks.common import BENCH, ROOT, clean_environment, environment, free_port, say
from benchmarks.load_tools import running
from trilemma.catalog.catalog import Catalog
from trilemma.settings import Settings
from trilemma.store import open_store

PAUSE_S = 0.005
PROMPT, ANSWER = 32, 12
_QUIETLY = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "DO_NOT_TRACK": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


@dataclass(frozen=True)
class Here:
    """What the tools work with: weights as a file and as a folder of safetensors, a paced server, and a folder."""

    gguf: Path
    folder: Path
    paced: str
    scratch: Path

    def out(self, name: str) -> Path:
        """An empty folder for a tool's files."""
        folder = self.scratch / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder


@dataclass(frozen=True)
class Made:
    """A file that a tool wrote, and figures that it states there itself: a key, or one without its subject; in our
    units.
    """

    path: Path
    stated: Sequence[tuple[str, float]]


@contextlib.contextmanager
def furnished() -> Iterator[Here]:
    """SmolLM2-135M-Instruct out of its package, converted, and a server that sends a token every few milliseconds."""
    scratch = BENCH / "importers"
    scratch.mkdir(parents=True, exist_ok=True)
    settings = Settings(home=scratch / "home", database="")
    settings.ensure_home()
    with open_store(settings.database_url) as store:
        catalog = Catalog(store, settings)
        small = catalog.add("packages", next(o.reference for o in catalog.offers("SmolLM2", "packages")))
        folder = Path(catalog.convert(small, "F16").path)
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.instant_server", str(port), str(PAUSE_S)]
    with running(command, port, scratch / "paced.log", os.sched_getaffinity(0)) as address:
        yield Here(Path(small.path), folder, address, scratch)


def run(command: Sequence[str | Path], at: Path, **variables: str) -> None:
    """Run a tool in the folder ``at``, with some more variables in its environment.

    Raises:
        RuntimeError: it failed; the message has the end of what it said.
    """
    texts = [str(part) for part in command]
    done = subprocess.run(
        texts, cwd=at, env=clean_environment() | _QUIETLY | variables, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, check=False, timeout=1800,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{' '.join(texts[:3])} ended with {done.returncode}: {done.stdout[-3000:]}")


def installed(name: str, *requirements: str, torch: bool = False) -> Path:
    """The Python of an environment with a tool's newest version, unless it is there already; its version is said."""
    python = environment(f"importers-{name}", requirements, torch=torch)
    ask = f"from importlib.metadata import version; print(version({name!r}))"
    version = subprocess.run([str(python), "-c", ask], check=True, capture_output=True, text=True).stdout.strip()
    say(f"  {name} {version}")
    return python


def document(path: Path) -> Any:
    """A JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def llama_bench(here: Here) -> list[Made]:
    """Its four formats. With the speeds of each repetition in a file the figure is their mean, else the stated one."""
    tools, out = llama_tools.build(), here.out("llama-bench")
    made = []
    for suffix in ("json", "jsonl", "sql", "csv"):
        arguments = ["-m", str(here.gguf), "-o", suffix, "-p", str(PROMPT), "-n", str(ANSWER), "-r", "2", "-t", "1,2"]
        path = out / f"llama-bench.{suffix}"
        path.write_text(tools.run(tools.bench, *arguments).stdout, encoding="utf-8")
        made.append(Made(path, _speeds(path)))
    return made


def _speeds(path: Path) -> list[tuple[str, float]]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".sql":
        return [("bits_per_weight", _sql_bits(text))]
    if path.suffix == ".csv":
        tests: list[dict[str, Any]] = list(csv.DictReader(text.splitlines()))
    else:
        tests = json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.splitlines() if line]
    found = []
    for test in tests:
        speed = statistics.fmean(test["samples_ts"]) if "samples_ts" in test else float(test["avg_ts"])
        found.append(("engine_prefill_tps" if int(test["n_prompt"]) else "engine_decode_tps", speed))
    return found


def _sql_bits(text: str) -> float:
    """By SQLite itself, which the importer does not use."""
    import sqlite3

    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        database.executescript(text)
        (size, parameters) = database.execute("select model_size, model_n_params from llama_bench").fetchone()
    return float(size) * 8 / float(parameters)


def vllm_serve(here: Here) -> list[Made]:
    """``vllm bench serve`` through the module behind the command, which does not start without a GPU.

    The client is Python and needs none: the newest vLLM's code is run beside the packages of ``make test-vllm``.
    """
    folder = ROOT / ".venv-vllm"
    subprocess.run(["make", "--no-print-directory", f"{folder.name}/.installed"], cwd=ROOT, check=True)
    newest = installed("vllm", "--no-deps", "vllm")
    ask = [str(newest), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    code_of = subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip()
    code = (
        "import asyncio; from vllm.benchmarks.serve import add_cli_args, main_async;"
        "from vllm.utils.argparse_utils import FlexibleArgumentParser as P;"
        "p = P(); add_cli_args(p); asyncio.run(main_async(p.parse_args()))"
    )
    out = here.out("vllm-bench-serve")
    made = []
    for name, more in (
        ("detailed", ["--save-detailed", "--max-concurrency", "2"]),
        ("summary", ["--request-rate", "4"]),
    ):
        run(
            [
                folder / "bin" / "python", "-c", code, "--backend", "openai", "--base-url", here.paced,
                "--endpoint", "/v1/completions", "--model", "served", "--tokenizer", here.folder, "--ignore-eos",
                "--dataset-name", "random", "--random-input-len", str(PROMPT), "--random-output-len", str(ANSWER),
                "--num-prompts", "24", "--percentile-metrics", "ttft,tpot,itl,e2el", "--save-result",
                "--result-dir", out, "--result-filename", f"{name}.json", *more,
            ],
            out,
            PYTHONPATH=code_of,
        )  # fmt: skip
        told = document(out / f"{name}.json")
        known = [("ttft_s.mean", told["mean_ttft_ms"] / 1e3), ("tpot_s.mean", told["mean_tpot_ms"] / 1e3)]
        made.append(Made(out / f"{name}.json", known))
    return made


def guidellm(here: Here) -> list[Made]:
    """One request at a time, of which it states means that are defined as here."""
    python, out = installed("guidellm", "guidellm", torch=True), here.out("guidellm")
    path = out / "synchronous.json"
    run(
        [
            python.parent / "guidellm", "run", "--profile", "kind=synchronous",
            "--backend", f"kind=openai_http,target={here.paced},model=served,request_format=/v1/completions",
            "--constraint", "kind=max_requests,count=12",
            "--data", f"kind=synthetic_text,prompt_tokens={PROMPT},output_tokens={ANSWER}",
            "--tokenizer", f"kind=hf_auto,model={here.folder}",
            "--output", f"kind=json,path={path}", "--disable-console",
        ],
        out,
    )  # fmt: skip
    told = document(path)["benchmarks"][0]["metrics"]
    means = {"ttft_s.mean": "time_to_first_token_ms", "tpot_s.mean": "inter_token_latency_ms"}
    return [Made(path, [(key, told[name]["successful"]["mean"] / 1e3) for key, name in means.items()])]


def aiperf(here: Here) -> list[Made]:
    """One request at a time, by the server's count of tokens."""
    python, out = installed("aiperf", "aiperf"), here.out("aiperf")
    run(
        [
            python.parent / "aiperf", "profile", "--model", "served", "--url", here.paced,
            "--endpoint-type", "completions", "--streaming", "--concurrency", "1", "--request-count", "24",
            "--synthetic-input-tokens-mean", str(PROMPT), "--output-tokens-mean", str(ANSWER),
            "--use-server-token-count", "--tokenizer", here.folder, "--output-artifact-dir", out, "--ui", "none",
        ],
        out,
        # Told that there is no network, it takes the tokenizer's folder for the name of a repository.
        HF_HUB_OFFLINE="",
        TRANSFORMERS_OFFLINE="",
    )  # fmt: skip
    path = next(out.rglob("profile_export_aiperf.json"))
    told = document(path)
    means = {
        "ttft_s.mean": "time_to_first_token",
        "tpot_s.mean": "inter_token_latency",
        "e2e_s.mean": "request_latency",
    }
    return [Made(path, [(key, told[name]["avg"] / 1e3) for key, name in means.items()])]


_TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
doc_to_text: "{{{{question}}}}"
"""
_TASKS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "made_sums": (
        'output_type: generate_until\ndoc_to_target: "{{answer}}"\n'
        "generation_kwargs: {until: [\"\\n\"], max_gen_toks: 4}\nmetric_list: [{metric: exact_match}]\n",
        [{"question": f"{a} + {a} =", "answer": str(2 * a)} for a in range(1, 7)],
    ),
    "made_capitals": (
        'output_type: multiple_choice\ndoc_to_choice: "{{choices}}"\ndoc_to_target: "{{label}}"\n'
        "metric_list: [{metric: acc}, {metric: acc_norm}]\n",
        [
            {"question": f"The capital of {land} is", "choices": ["Paris", "Rome", "Oslo"], "label": number}
            for number, land in enumerate(("France", "Italy", "Norway"))
        ],
    ),
}  # fmt: skip


def lm_eval(here: Here) -> list[Made]:
    """Two small tasks over questions made here, since its own have to be downloaded; a real server answers."""
    python, out = installed("lm-eval", "lm-eval[api]", "transformers"), here.out("lm-eval")
    for name, (how, rows) in _TASKS.items():
        data = out / f"{name}.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        (out / f"{name}.yaml").write_text(_TASK.format(name=name, data=data) + how, encoding="utf-8")
    port = free_port()
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(here.gguf), "--port", str(port),
               "--logits_all", "true", "--n_ctx", "512"]  # fmt: skip
    with running(command, port, out / "server.log", os.sched_getaffinity(0)) as address:
        # The server takes texts, and no tokens.
        arguments = ",".join(
            [
                "model=served", f"base_url={address}/v1/completions", f"tokenizer={here.folder}", "num_concurrent=1",
                "tokenized_requests=False",
            ]
        )  # fmt: skip
        run(
            [
                python.parent / "lm_eval", "run", "--model", "local-completions", "--tasks", ",".join(_TASKS),
                "--model_args", arguments, "--include_path", out, "--output_path", out / "results",
            ],
            out,
        )  # fmt: skip
    path = next((out / "results").rglob("results_*.json"))
    told = document(path)["results"]
    return [
        Made(
            path,
            [
                ("accuracy@lm_eval made_capitals", told["made_capitals"]["acc,none"]),
                ("accuracy@lm_eval made_sums", told["made_sums"]["exact_match,none"]),
            ],
        )
    ]


_OPTIMUM = """
defaults: [benchmark, {{scenario: inference}}, {{launcher: process}}, {{backend: pytorch}}, _self_]
name: importers
launcher: {{start_method: spawn}}
backend: {{device: cpu, model: {model}, task: text-generation, library: transformers, torch_dtype: float32}}
scenario:
  memory: true
  iterations: 3
  duration: 0
  warmup_runs: 1
  input_shapes: {{batch_size: 1, sequence_length: {prompt}}}
  generate_kwargs: {{max_new_tokens: {answer}, min_new_tokens: {answer}}}
hydra: {{run: {{dir: {out}}}, job: {{chdir: true}}}}
"""


def optimum(here: Here) -> list[Made]:
    """Nested, and flattened by its own function into a table, as LLM-Perf publishes them.

    Its newest version imports a class that transformers 5 has no more, so it gets the newest before that.
    """
    python = installed("optimum-benchmark", "optimum-benchmark", "transformers<5", torch=True)
    out = here.out("optimum-benchmark")
    settings = _OPTIMUM.format(model=here.folder, prompt=PROMPT, answer=ANSWER, out=out)
    (out / "importers.yaml").write_text(settings, encoding="utf-8")
    run([python.parent / "optimum-benchmark", "--config-dir", out, "--config-name", "importers"], out)
    table = "from optimum_benchmark import Benchmark; Benchmark.from_json('benchmark.json').save_csv('llm-perf.csv')"
    run([python, "-c", table], out)
    report = document(out / "benchmark.json")["report"]
    stated = [
        ("tpot_s.mean", report["decode"]["latency"]["mean"] / (ANSWER - 1)),
        ("e2e_s.mean", report["generate"]["latency"]["mean"]),
        ("load_s", report["load_model"]["latency"]["mean"]),
    ]
    return [Made(out / name, stated) for name in ("benchmark.json", "llm-perf.csv")]


TOOLS: dict[str, Callable[[Here], list[Made]]] = {
    "llama-bench": llama_bench,
    "vllm-bench-serve": vllm_serve,
    "guidellm": guidellm,
    "aiperf": aiperf,
    "lm-eval": lm_eval,
    "optimum-benchmark": optimum,
}
"""By importer. What is left of those are the readers of any table and of Trilemma's own files."""
