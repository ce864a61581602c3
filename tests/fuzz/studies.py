"""Studies as files, and workloads and suites as they are typed."""

from __future__ import annotations

import json

from hypothesis import strategies as st

from tests.fuzz.inputs import documents, floats, integers, json_bytes, json_values, texts, toml
from tests.fuzz.surface import Surface, put
from trilemma.cli import parse
from trilemma.errors import NotFoundError
from trilemma.schema import Artifact, DeviceProfile, StudySpec
from trilemma.study import estimate
from trilemma.workloads import PROMPT_SETS

ARTIFACT = Artifact(id="cd" * 32, path="/x.gguf", model="Tiny", quantization="Q8_0", size_bytes=10**9, source="folder")

_WORKLOAD_FIELDS = ("name", "requests", "prompt_tokens", "output_tokens", "concurrency", "rate", "sweep", "limits",
"trace", "seed",
                    "warmup_requests", "ttft_limit_s", "tpot_limit_s", "think_time_s", "length_spread",
                    "fit_context")  # fmt: skip
_SUITE_FIELDS = (
    "name",
    "limit",
    "seed",
    "concurrency",
    "stopping",
    "options",
    "stop_error",
    "stop_margin",
    "file",
    "temperature",
)
_numbers = st.one_of(integers, floats, st.lists(st.one_of(integers, floats), max_size=4))
workload_tables = st.builds(
    lambda name, rest: {"name": name} | rest,
    st.sampled_from((*PROMPT_SETS, "?")), documents(_WORKLOAD_FIELDS, st.one_of(_numbers, _numbers, json_values)),
)  # fmt: skip
_suite_tables = st.builds(
    lambda name, rest: {"name": name} | rest,
    st.sampled_from(("hellaswag", "own", "gsm8k", "perplexity", "?")), documents(_SUITE_FIELDS, st.one_of(_numbers,
    json_values)),
)  # fmt: skip
_settings = st.dictionaries(
    st.one_of(st.sampled_from(("threads", "context", "kv_cache_type", "slots")), texts), json_values, max_size=4
)
_STUDY_FIELDS = (*StudySpec.model_fields, "artifacts", "engine", "settings", "devices", "adapters")


@st.composite
def _study(draw: st.DrawFn) -> tuple[str, str]:
    right = {"name": "s", "artifacts": ["Tiny Q8_0"], "workloads": [{"name": "short_chat"}]}
    content = right | draw(documents(_STUDY_FIELDS))
    if draw(st.booleans()):
        content["workloads"] = draw(st.lists(st.one_of(workload_tables, texts), max_size=3))
    if draw(st.booleans()):
        content["suites"] = draw(st.lists(st.one_of(_suite_tables, texts), max_size=3))
    if draw(st.booleans()):
        content["settings"] = draw(_settings)
    if draw(st.integers(0, 3)) == 0:
        del content["artifacts"]
        content["configurations"] = draw(
            st.lists(
                st.one_of(documents(("artifact_id", "engine", "settings", "profile", "adapter_id")), json_values),
                max_size=2,
            )
        )
    if draw(st.booleans()):
        return "study.json", json_bytes(content).decode()
    return "study.toml", draw(toml(content))


def _find(name: str) -> Artifact:
    if len(name) > 60:
        raise NotFoundError(f"No {name[:9]}.")
    return ARTIFACT


def _find_device(name: str) -> DeviceProfile:
    return DeviceProfile(name="phone", cores=1, memory_bytes=10**9, context=2048)


def _study_file(case: tuple[str, str]) -> None:
    spec = parse.study_file(put(*case), _find, _find_device)
    json.dumps(spec.model_dump(mode="json"), allow_nan=True).encode()
    found = estimate(spec, [ARTIFACT])
    assert found.runs >= 1
    assert found.seconds >= 0


@st.composite
def _typed(draw: st.DrawFn) -> tuple[str, str]:
    kind = draw(st.sampled_from(("workload", "suite", "settings")))
    if kind == "settings":
        name = draw(st.sampled_from(("threads", "context", "x")))
        return kind, f"{name}={draw(texts)},{draw(texts)}"
    fields = _WORKLOAD_FIELDS if kind == "workload" else _SUITE_FIELDS
    pairs = draw(st.lists(st.tuples(st.sampled_from(fields), st.one_of(texts, floats.map(repr), st.just("1;2;4"),
    st.just("0.5;1"))),
                          max_size=4))  # fmt: skip
    name = draw(st.sampled_from(("short_chat", "hellaswag", "own", "long_answer")))
    return kind, f"{name}:" + ",".join(f"{key}={value}" for key, value in pairs)


def _as_typed(case: tuple[str, str]) -> None:
    kind, text = case
    if kind == "workload":
        spec = parse.workload(text)
        assert spec.subject
        assert all(level.requests >= 1 for level in spec.levels())
    elif kind == "suite":
        assert parse.suite(text).subject is not None
    else:
        made = parse.configurations(["Tiny"], "llama.cpp", parse.typed_settings([text]), _find)
        assert all(one.id for one in made)


SURFACES = (
    Surface(
        "Study files", _study(), _study_file, share=2,
        examples=(("study.json", "[" * 200_000), ("study.toml", "a = " + "[" * 50_000),
                  ("study.toml", 'name = "s"\nartifacts = ["x"]\nworkloads = [{name = "short_chat", sweep = [inf]}]\n'),
                  ("study.toml",
                  'name = "s"\nartifacts = ["x"]\nsettings = {a = 1979-05-27}\nworkloads = ["short_chat"]\n'),
                  ("study.json", json.dumps({"name": "s", "artifacts": ["x"],
                  "settings": {str(n): [*range(100)] for n in range(9)}})),
                  ("study.toml",
                  f'name = "s"\nartifacts = ["x"]\nworkloads = [{{name = "short_chat", requests = 1{"0" * 400}}}]\n')),
    ),
    Surface(
        "Workloads and suites as typed", _typed(), _as_typed, share=1,
        examples=(("workload", "short_chat:sweep=a;b"), ("workload", "short_chat:sweep=1e999"), ("suite",
            "own:options=3,x=1"),
                  ("settings", "threads=" + "[" * 100_000), ("suite", "hellaswag:stopping=1,stop_error=0.1")),
    ),
)  # fmt: skip
