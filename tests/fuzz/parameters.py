"""Parameters of addresses: limits, selections, priorities, numbers; and addresses of endpoints."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import math
import os
from pathlib import Path

from hypothesis import strategies as st
from streamlit import cache_resource as st_cache

from pages import explore
from pages.parts import decide_choice, explore_data, explore_filters, explore_selection, plan_choice, plan_data
from pages.parts.decide_choice import shares
from pages.parts.url_state import Snapshot, Value, _parse
from tests.factory import DEMO, fill_store
from tests.fuzz.inputs import FLOATS, NUMBERS, floats, texts, whole_texts
from tests.fuzz.surface import Surface, scratch
from trilemma.analysis.format import digits, format_duration, format_figure, interval_text, key_title, scale_for
from trilemma.analysis.limits import parse_limit
from trilemma.analysis.preferences import axis_keys, find_figure, limit_text, limit_words, read_limit
from trilemma.analysis.selection import described, read_spans, span_text
from trilemma.analysis.subjects import level_of, subject_title
from trilemma.catalog.addresses import is_metadata
from trilemma.catalog.endpoints import checked_address, endpoint_artifact, key_of
from trilemma.errors import TrilemmaError
from trilemma.figures import FIGURES
from trilemma.planning.tables import load_tables
from trilemma.schema import Axis, split_key
from trilemma.settings import get_settings
from trilemma.store import open_store

KEYS = (
    "peak_memory_bytes", "decode_tps@short_chat", "ttft_s.p95@short_chat x4", "energy_per_token_j@short_chat",
    "accuracy_norm@hellaswag", "e2e_s.median@short_chat 0.5/s", "kl_divergence.mean",
)  # fmt: skip
_figure_names = st.one_of(
    st.sampled_from((*KEYS, *FIGURES)), st.builds("{}@{}".format, st.sampled_from([*FIGURES]), texts), texts
)
_operators = st.sampled_from(("<=", ">=", "<", ">", "≤", "≥", "=", "", " <= <= "))
_amounts = st.one_of(st.sampled_from(NUMBERS), floats.map(repr), texts)
_units = st.one_of(st.sampled_from(("", "MiB", "ms", "%", "J/tok", "mJ/tok", "tok/s", "KiB/x", "B")), texts)
_limits = st.one_of(
    st.builds("{}{}{} {}".format, _figure_names, _operators, _amounts, _units),
    st.builds("{} {} {}{}".format, _figure_names, _operators, _amounts, _units), texts,
)  # fmt: skip
_WORST = (
    " " * 20_000,
    " " * 5000 + "<=",
    "x" + " " * 5000 + "<= 1",
    "x <= " + "1" * 5000,
    "<=" * 3000,
    "a" * 250 + "<= 1 " + " " * 40,
)


def _limit(text: str) -> None:
    for read in (
        lambda: parse_limit(text, KEYS),
        lambda: read_limit(text, KEYS).limit,
        lambda: read_limit(text, []).limit,
    ):
        with contextlib.suppress(TrilemmaError):
            limit = read()
            if limit is not None:
                assert math.isfinite(limit.value)
                assert limit.op in ("<=", ">=")
                assert limit_words(limit)
                with contextlib.suppress(TrilemmaError):  # a number may round beyond what can be read
                    assert parse_limit(limit_text(limit), KEYS).key == limit.key
    for span in read_spans([text], KEYS):
        assert read_spans([span_text(span)], KEYS)
    assert isinstance(described(read_spans([text, text], KEYS)), list)


def _figures(case: tuple[str, float, float, float]) -> None:
    key, value, low, high = case
    assert split_key(key) is not None
    assert key_title(key) is not None
    find_figure(key, KEYS, [key])
    axis_keys({Axis.SPEED: (key,)}, [key, *KEYS], [key])
    subject_title(key)
    level_of(f"short_chat {key}/s")
    for unit in ("B", "s", "J/tok", "", "tok/s"):
        assert format_figure(value, unit, low, high)
        assert scale_for([value, low], unit).factor > 0
        interval_text(value, low, high, scale_for([value], unit))
    assert digits(value)
    assert format_duration(abs(value))


def _priorities(text: str) -> None:
    found = shares(text)
    assert len(found) == 3
    assert math.isclose(sum(found), 1.0, rel_tol=1e-6)


# What pages make of an address


class Url(Snapshot):
    """The state of a page as an address alone gives it, outside a session."""

    def __init__(self, defaults: dict[str, Value], given: dict[str, list[str]]) -> None:
        self._defaults = dict(defaults)
        self._values = {name: _parse(given.get(name), default) for name, default in defaults.items()}


def data_folder() -> Path:
    """Make this process's settings those of a folder for what is tried."""
    folder = scratch() / "data"
    os.environ["TRILEMMA_HOME"] = str(folder)
    for name in ("TRILEMMA_DATABASE", "TRILEMMA_MODELS"):
        os.environ.pop(name, None)
    os.environ["TRILEMMA_RAY_ADDRESS"] = "127.0.0.1:9"  # pages ask the store about its machines, never the cluster
    get_settings.cache_clear()
    get_settings().ensure_home()
    return folder


@functools.cache
def version() -> tuple[str, int]:
    """The state of a store with three configurations, which the pages' own functions read."""
    data_folder()
    st_cache.clear()
    with open_store(get_settings().database_url) as store:
        fill_store(store, DEMO[:3], 2, detail=False)
    return explore_data.version()


def _given(names: tuple[str, ...], known: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, list[str]]]:
    values = st.lists(st.one_of(known, whole_texts), min_size=1, max_size=3)
    return st.dictionaries(st.sampled_from(names), values, max_size=8)


_EXPLORE: dict[str, Value] = {**explore.DEFAULTS}
_explore_values = st.one_of(
    st.sampled_from((*KEYS, *explore_filters.VIEWS, "x", "y", "1", "0", "llama.cpp", "Q8_0")), _limits
)
_decide_values = st.one_of(_explore_values, st.sampled_from(("chat-assistant", "chebyshev", "topsis", "rank", "range",
"1,1,1")),
                           st.builds("{},{},{}".format, _amounts, _amounts, _amounts))  # fmt: skip
_plan_values = st.one_of(st.sampled_from(("short_chat", "office hours", "hours of your own", "cloud", "edge", "1",
"0")), _amounts,
                         st.lists(_amounts, min_size=24, max_size=24).map(",".join))  # fmt: skip


def _explore(given: dict[str, list[str]]) -> None:
    url = Url(_EXPLORE, given)
    of = version()
    catalog = explore_data.catalog(of)
    chosen = explore_filters.choose(of, catalog, url)
    assert set(chosen.axes) <= set(catalog.keys)
    assert chosen.view in explore_filters.VIEWS
    assert all(math.isfinite(limit.value) for limit in chosen.limits)
    assert len(chosen.axes) <= explore_filters.FIGURES
    selection = explore_selection.read(url, catalog.keys)
    assert len(described(selection.spans)) <= len(selection.spans)


def _decide(given: dict[str, list[str]]) -> None:
    url = Url(decide_choice.DEFAULTS, given)
    asked = decide_choice.choose(version(), "", url)
    if asked.question is not None:
        assert math.isclose(sum(asked.question.weights), 1.0, rel_tol=1e-6)
        assert len(asked.question.axes) == len(Axis)
    assert all(problem.message for problem in asked.problems)


@functools.cache
def _subject() -> tuple[str, str, str]:
    url = Url(plan_choice.DEFAULTS, {})
    return plan_choice.choose_subject(version(), "", url)


def _plan(given: dict[str, list[str]]) -> None:
    url = Url(plan_choice.DEFAULTS, given)
    study, workload, configuration = plan_choice.choose_subject(version(), _subject()[0], url)
    found = plan_data.known(version(), study, workload, configuration)
    assumed = plan_choice.choose(url, found, load_tables())
    assert assumed.demand.requests_per_day > 0
    for name, about in plan_choice.NUMBERS.items():
        text = url.text(name)
        assert not text or about.low <= float(text) <= about.high


# Addresses of endpoints


_hosts = st.one_of(
    st.sampled_from(("localhost", "127.0.0.1", "[::1]", "model.lan", "10.0.0.7", "169.254.169.254",
    "metadata.google.internal", "0xa9fea9fe",
                     "2852039166", "0251.0376.0251.0376", "169.254.43518", "[::ffff:169.254.169.254]",
                     "[fd00:ec2::254]", "[fe80::a9fe:a9fe%eth0]",
                     "169.254.169.254.", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::]", "100.100.100.200",
                     "METADATA.google.internal.")),
    st.integers(0, 2**32 - 1).map(str), st.integers(0, 2**32 - 1).map(lambda n: str(ipaddress.IPv4Address(n))),
    st.integers(0, 2**128 - 1).map(lambda n: f"[{ipaddress.IPv6Address(n)}]"), texts,
)  # fmt: skip
_addresses = st.one_of(
    st.builds("{}://{}{}{}".format, st.sampled_from(("http", "https", "HTTP", "file", "gopher", "ftp", "data",
    "javascript")), _hosts,
              st.sampled_from(("", ":80", ":99999", ":-1", ":8000", ":x")), st.one_of(st.sampled_from(("", "/v1",
              "/v1/", "?key=x", "#x")), texts)),
    st.builds("http://{}@{}/v1".format, texts, _hosts), texts,
)  # fmt: skip


def _address(text: str) -> None:
    place = checked_address(text)
    assert place.startswith(("http://", "https://"))
    assert checked_address(place) == place
    assert not is_metadata(place.split("://")[1].split("/")[0].rsplit(":", 1)[0].strip("[]"))
    assert place.isprintable()
    made = endpoint_artifact(text, "m", text[:80])
    assert made.path == place
    assert made.quantization.isprintable()


def _named_keys(text: str) -> None:
    with contextlib.suppress(ValueError):  # what no variable can be called is no name of one
        key_of(text)


_METADATA = (
    "http://169.254.169.254/v1", "http://2852039166/v1", "http://0xA9FEA9FE/v1", "http://0251.0376.0251.0376",
    "http://169.254.43518",
    "http://[::ffff:a9fe:a9fe]/", "http://[fd00:ec2::254]/v1", "https://metadata.google.internal/",
    "http://169.254.169.254./v1",
    "http://[64:ff9b::169.254.169.254]/", "http://[fe80::a9fe:a9fe%25eth0]/", "http://100.100.100.200/latest",
)  # fmt: skip

SURFACES = (
    Surface("Limits", _limits, _limit, share=3, examples=(*_WORST, "ttft_s@a  .../s <= 3",
        "peak_memory_bytes <= 1e999")),
    Surface("Figures and their numbers", st.tuples(_figure_names, floats, floats, floats), _figures, share=3,
            examples=(("ttft_s@a  .../s", *FLOATS[:3]), ("ttft_s@x x" + "9" * 5000, 1e308, -1e308, 5e-324))),
    Surface("Priorities", st.one_of(st.builds("{},{},{}".format, _amounts, _amounts, _amounts), texts), _priorities,
        share=1),
    Surface("Parameters of Explore", _given((*_EXPLORE,), _explore_values), _explore, share=2, prepare=version),
    Surface("Parameters of Decide", _given((*decide_choice.DEFAULTS,), _decide_values), _decide, share=2,
        prepare=version),
    Surface("Parameters of Plan", _given((*plan_choice.DEFAULTS,), _plan_values), _plan, share=2, prepare=version,
            examples=({"memory": ["1e308"]},)),
    Surface("Addresses of endpoints", _addresses, _address, share=2, examples=_METADATA),
    Surface("Names of variables with keys", texts, _named_keys, share=0.5),
)  # fmt: skip
