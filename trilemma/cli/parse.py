"""Studies out of what is typed: settings to sweep, workloads, suites, and study files."""

from __future__ import annotations

import itertools
import json
import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, JsonValue, ValidationError

from trilemma.errors import StudyError
from trilemma.profiles import NO_DEVICE, find_profile, on_devices
from trilemma.schema import Artifact, Configuration, DeviceProfile, StoppingRule, StudySpec, SuiteSpec, WorkloadSpec
from trilemma.settings import get_settings
from trilemma.study import with_adapters
from trilemma.suites.custom import file as questions
from trilemma.workloads import PROMPT_SETS, traces

_Model = TypeVar("_Model", bound=BaseModel)
FindArtifact = Callable[[str], Artifact]
FindDevice = Callable[[str], DeviceProfile]
MAX_BYTES = 16 * 2**20
"""Of a study file."""
MAX_COMBINATIONS = 10_000
"""Of swept settings: lists multiply, and a line of text could ask for more than any memory holds."""
_HASHES = ("file", "trace")
_STUDY_FIELDS = set(StudySpec.model_fields)
_FILE_FIELDS = _STUDY_FIELDS | {"artifacts", "engine", "settings", "devices", "adapters"}


def scalar(text: str) -> JsonValue:
    """``text`` as JSON where it is (4, true, null), else as it stands (q8_0, also NaN and Infinity)."""

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no JSON")

    try:
        value: JsonValue = json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        return text
    return value


def pairs(text: str, what: str) -> dict[str, JsonValue]:
    """``key=value,key=value`` as a dictionary.

    Raises:
        StudyError: a part has no ``=``.
    """
    found: dict[str, JsonValue] = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise StudyError(f"{part!r} in {what} is not of the form key=value.", f"For example {what}:seed=1")
        # A hash may look like a number: 12e4 is one, and no hundred thousand.
        found[key.strip()] = value.strip() if key.strip() in _HASHES else scalar(value.strip())
    return found


def workload(value: str | Mapping[str, Any]) -> WorkloadSpec:
    """``short_chat``, ``short_chat:requests=4,output_tokens=32`` or a table of a study file.

    A sweep is written ``sweep=1;2;4``, limits ``ttft_limit_s=0.5`` and ``tpot_limit_s=0.05``; of a trace the beginning
    of its hash is enough, and all of its requests are asked unless ``requests`` says how many.

    Raises:
        StudyError: there is no such workload or trace, or a field is wrong.
    """
    fields = dict(value) if isinstance(value, Mapping) else _named(value)
    name = str(fields.get("name", ""))
    limits = {key: fields.pop(f"{key.removesuffix('_s')}_limit_s", None) for key in ("ttft_s", "tpot_s")}
    if any(limit is not None for limit in limits.values()):
        given = {key: value for key, value in limits.items() if value is not None}
        fields["limits"] = {**_inner(fields, "limits", name), **given}
    if not isinstance(fields.get("sweep", []), list | tuple):
        fields["sweep"] = [scalar(part) for part in str(fields["sweep"]).split(";")]
    if "rate" not in fields and any(isinstance(v, float) and not v.is_integer() for v in fields.get("sweep", ())):
        fields["rate"] = fields["sweep"][0]
    if fields.get("trace"):
        folder = get_settings().traces_dir
        fields["trace"] = traces.find(folder, str(fields["trace"]))
        fields.setdefault("requests", len(traces.load(folder, fields["trace"])))
    if name not in PROMPT_SETS:
        raise StudyError(f"There is no workload named {name!r}.", f"Known: {', '.join(PROMPT_SETS)}.")
    return _validated(WorkloadSpec, PROMPT_SETS[name].defaults().model_dump() | fields, f"workload {name}")


def suite(value: str | Mapping[str, Any]) -> SuiteSpec:
    """``hellaswag``, ``hellaswag:100``, ``perplexity:limit=20,chunk_tokens=256`` or a table of a study file.

    What is no field of :class:`SuiteSpec` becomes one of the suite's own options. With ``stop_error=0.05`` (and
    ``stop_margin``, ``stop_width``) it ends as soon as its place among the study's configurations is decided. Of a file
    of own questions the beginning of its hash is enough.

    Raises:
        StudyError: a field is wrong, or there is no such file.
    """
    fields = dict(value) if isinstance(value, Mapping) else _named(value, short="limit")
    stopping = {name: fields.pop(key) for name in StoppingRule.model_fields if (key := f"stop_{name}") in fields}
    name = str(fields.get("name", ""))
    if stopping:
        fields["stopping"] = {**_inner(fields, "stopping", name), **stopping}
    options = {key: fields.pop(key) for key in list(fields) if key not in SuiteSpec.model_fields}
    if options or "options" in fields:
        fields["options"] = {**_inner(fields, "options", name), **options}
    if name == "own" and (beginning := fields.get("options", {}).get("file")):
        fields["options"]["file"] = questions.find(get_settings().questions_dir, str(beginning))
    return _validated(SuiteSpec, fields, f"suite {name}")


def _inner(fields: Mapping[str, Any], field: str, what: str) -> Mapping[str, Any]:
    """The table in a field, empty without one.

    Raises:
        StudyError: it is something else.
    """
    found = fields.get(field) or {}
    if not isinstance(found, Mapping):
        raise StudyError(f"{what[:60]}: {field} is no table.", "Give it names and values; see docs/user-guide.md.")
    return found


def _named(text: str, short: str = "") -> dict[str, Any]:
    name, _, rest = text.partition(":")
    if short and rest and "=" not in rest:
        rest = f"{short}={rest}"
    return {"name": name.strip(), **pairs(rest, name)}


def sweep(settings: Mapping[str, Any]) -> list[dict[str, JsonValue]]:
    """Every combination of settings whose values are lists; ``[{}]`` for none.

    Raises:
        StudyError: there are more than :data:`MAX_COMBINATIONS`.
    """
    choices = [value if isinstance(value, list) else [value] for value in settings.values()]
    if (count := math.prod(map(len, choices))) > MAX_COMBINATIONS:
        raise StudyError(f"The settings make {count:,} combinations.", f"Sweep at most {MAX_COMBINATIONS:,}.")
    return [dict(zip(settings, values, strict=True)) for values in itertools.product(*choices)]


def typed_settings(texts: Sequence[str]) -> dict[str, JsonValue]:
    """``--set threads=1,2 --set kv_cache_type=q8_0`` as a dictionary; several values become a list.

    Raises:
        StudyError: one has no ``=``.
    """
    found: dict[str, JsonValue] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip() or not value:
            raise StudyError(f"--set {text!r} is not of the form key=value.", "For example --set threads=2")
        values = [scalar(part.strip()) for part in value.split(",")]
        found[key.strip()] = values[0] if len(values) == 1 else values
    return found


def configurations(
    artifacts: Sequence[str],
    engine: str,
    settings: Mapping[str, Any],
    find: FindArtifact,
    devices: Sequence[DeviceProfile | None] = (),
    adapters: Sequence[str] = (),
) -> tuple[Configuration, ...]:
    """Artifacts (ids, their beginnings, or labels) x combinations of settings x devices, without and with adapters.

    Raises:
        NotFoundError: the catalog has no such artifact.
    """
    found = [find(name) for name in artifacts]
    here = tuple(
        Configuration(artifact_id=artifact.id, engine=engine, settings=combination)
        for artifact in found
        for combination in sweep(settings)
    )
    return on_devices(with_adapters(here, [find(name) for name in adapters]), devices, found)


def devices_of(names: Sequence[str], find: FindDevice) -> list[DeviceProfile | None]:
    """Devices by name, each once; ``this machine`` is None.

    Raises:
        ProfileError: there is no such profile, or its file is wrong.
    """
    return [None if name == NO_DEVICE else find(name) for name in dict.fromkeys(names)]


def study_file(path: Path, find: FindArtifact, find_device: FindDevice = find_profile) -> StudySpec:
    """Read a study from TOML or JSON: the fields of :class:`StudySpec`, or the short form.

    In the short form ``artifacts`` (ids or labels), ``engine``, ``settings`` (lists are swept) and ``devices`` (names)
    stand in place of ``configurations``, and workloads and suites may be written as on the command line.

    Raises:
        StudyError: it cannot be read, or a field is unknown or wrong.
        NotFoundError: the catalog has no such artifact.
        ProfileError: there is no such device profile.
    """
    data = _load(path)
    if unknown := sorted(set(data) - _FILE_FIELDS):
        raise StudyError(f"{path.name} has unknown fields: {', '.join(unknown)}.", f"Known: {_known()}.")
    try:
        listed = data.pop("artifacts", None)
        engine, settings = data.pop("engine", "llama.cpp"), data.pop("settings", {})
        devices, adapters = _names(data, path, "devices", "profiles"), _names(data, path, "adapters", "models")
        if (devices or adapters) and listed is None:
            raise StudyError(
                f"{path.name}: devices and adapters go with artifacts.",
                "Give each configuration a profile or an adapter_id instead.",
            )
        if listed is not None:
            chosen = devices_of(devices, find_device)
            data["configurations"] = configurations(listed, str(engine), settings, find, chosen, adapters)
        else:
            data["configurations"] = [
                {**entry, "artifact_id": find(str(entry["artifact_id"])).id} for entry in data["configurations"]
            ]
        data["workloads"] = [workload(entry) for entry in data.get("workloads", [])]
        data["suites"] = [suite(entry) for entry in data.get("suites", [])]
    except ValidationError as error:
        raise _wrong(path.name, error) from error
    except (KeyError, TypeError, AttributeError) as error:
        raise StudyError(
            f"{path.name} does not describe a study: {error!r} is missing or of the wrong kind.",
            "It needs a name and artifacts (a list of labels); see docs/user-guide.md.",
        ) from error
    return _validated(StudySpec, data, path.name)


def placed(spec: StudySpec, machines: Sequence[str], gpus: int, gpu_type: str) -> StudySpec:
    """The study on these machines (none: on any), each run with so many GPUs to itself.

    Raises:
        StudyError: there can be no such machine or type.
    """
    needs = {"gpus": gpus, "gpu_type": gpu_type}
    return _validated(StudySpec, spec.model_dump() | {"machines": tuple(machines), "needs": needs}, "machines")


def _names(data: dict[str, Any], path: Path, field: str, command: str) -> list[str]:
    names = data.pop(field, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise StudyError(f"{path.name}: {field} must be a list of names.", f"`trilemma {command}` lists them.")
    return names


def _known() -> str:
    return ", ".join(sorted(_FILE_FIELDS))


def _load(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise StudyError(f"{path} is larger than {MAX_BYTES >> 20} MiB.", "Make several studies of it.")
        text = content.decode("utf-8")
        data = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except OSError as error:
        raise StudyError(
            f"{path} cannot be read ({error.strerror}).", "Give the path of a TOML or JSON file."
        ) from error
    except (ValueError, RecursionError) as error:
        raise StudyError(f"{path} is neither valid TOML nor JSON: {error}", "Mend the file and try again.") from error
    if not isinstance(data, dict):
        raise StudyError(f"{path} holds no table.", "A study file is one JSON object or a TOML file.")
    return data


def _validated(model: type[_Model], fields: Mapping[str, Any], what: str) -> _Model:
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise _wrong(what, error) from error


def _wrong(what: str, error: ValidationError) -> StudyError:
    """What is wrong first."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    return StudyError(f"{what}: {where}: {first['msg']}.", "Mend it and try again.")
