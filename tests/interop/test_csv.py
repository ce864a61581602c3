"""Tables whose columns the user says the meaning of."""

from __future__ import annotations

import pytest

from trilemma.analysis.points import configuration_points
from trilemma.errors import InteropError
from trilemma.interop import read_data
from trilemma.interop.csv_table import parse_mapping, read_target
from trilemma.interop.studies import add
from trilemma.store import Store

TABLE = (
    "Model;Quant;TTFT (ms);lo;hi;Memory (GiB);acc %;threads;note\n"
    "Tiny;Q8_0;12.5;12;13;1.5;42;2;fine\n"
    "Tiny;Q4_K_M;9;;;0.75;n/a;2;\n"
    ";;;;;;;;\n"
    "Big;Q8_0;;;;;;4;no figure\n"
)
MAPS = [
    "Model=model", "Quant=quantization", "TTFT (ms)=ttft_s.median@chat [ms]", "lo=low:ttft_s.median@chat [ms]",
    "hi=high:ttft_s.median@chat [ms]", "Memory (GiB)=peak_memory_bytes [GiB]", "acc %=accuracy@quiz [%]",
    "threads=setting:threads",
]  # fmt: skip


def test_columns_become_figures_in_base_units() -> None:
    imported, file = read_data("t.csv", TABLE.encode(), mapping=parse_mapping(MAPS))
    assert file.importer == "csv"
    first, second = imported.runs
    values = {one.key: (one.value, one.low, one.high) for one in first.measurements}
    assert values["ttft_s.median@chat"] == pytest.approx((0.0125, 0.012, 0.013))
    del values["ttft_s.median@chat"]
    assert values == {
        "peak_memory_bytes": (1.5 * 2**30, None, None),
        "accuracy@quiz": (0.42, None, None),
    }
    assert (first.model, first.quantization, first.settings) == ("Tiny", "Q8_0", {"threads": "2"})
    assert {one.key: one.value for one in second.measurements} == pytest.approx(
        {"ttft_s.median@chat": 0.009, "peak_memory_bytes": 0.75 * 2**30}
    )
    assert all(one.low is None and one.high is None for one in second.measurements), "no interval is invented"
    told = {one.what: one.why for one in imported.left_out}
    assert told["column note"] == "no target was given for it"
    assert told["column acc % in row 2"] == "it is no finite number"
    assert "row 3" in told, "an empty line is none, the row without figures is the third"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("ttft_s [B]", "cannot be in"),
        ("speed", "nothing that a column can be"),
        ("low:", "nothing that a column can be"),
        ("__import__('os')", "nothing that a column can be"),
        ("ttft_s.median@chat [ms] and more", "nothing that a column can be"),
        ("a" * 10_000, "nothing that a column can be"),
    ],
)
def test_a_target_that_cannot_be_is_refused(text: str, word: str) -> None:
    with pytest.raises(InteropError, match=word):
        read_target(text)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(InteropError, match="What its columns mean"):
        read_data("t.csv", TABLE.encode(), "csv")
    with pytest.raises(InteropError, match="no column 'Modell'"):
        read_data("t.csv", TABLE.encode(), mapping={"Modell": "model"})
    with pytest.raises(InteropError, match="which model"):
        read_data("t.csv", TABLE.encode(), mapping={"TTFT (ms)": "ttft_s [ms]"})
    with pytest.raises(InteropError, match="is no mapping"):
        parse_mapping(["Model"])
    with pytest.raises(InteropError, match="No importer knows"):
        read_data("t.csv", TABLE.encode())


@pytest.mark.parametrize(
    "maps", [["a=ttft_s.mean [ms]", "b=ttft_s.mean [s]"], ["a=setting:n", "b=setting: n"], ["a=engine", "b=engine"]]
)
def test_two_columns_cannot_mean_the_same(maps: list[str]) -> None:
    with pytest.raises(InteropError, match="Two columns mean"):
        parse_mapping(["m=model", *maps])
    assert parse_mapping(["v=ttft_s", "l=low:ttft_s", "h=high:ttft_s", "m=ttft_s.mean"])


def test_an_interval_that_is_none_is_listed() -> None:
    table = "m,v,l,h\nA,5,4,\nB,5,6,4\nC,5,4,6\nD,5,,\n"
    mapping = parse_mapping(["m=model", "v=ttft_s", "l=low:ttft_s", "h=high:ttft_s"])
    imported, _ = read_data("t.csv", table.encode(), mapping=mapping)
    assert [(one.measurements[0].low, one.measurements[0].high) for one in imported.runs] == [
        (None, None), (None, None), (4.0, 6.0), (None, None),
    ]  # fmt: skip
    assert [(one.what, one.why) for one in imported.left_out] == [
        ("interval of ttft_s in row 1", "one of its ends is missing"),
        ("interval of ttft_s in row 2", "the figure is not between its ends"),
    ]


def test_a_cell_may_be_as_long_as_a_file() -> None:
    table = f"m,v,note\nA,5,{'x' * 200_000}\n"
    imported, _ = read_data("t.csv", table.encode(), mapping=parse_mapping(["m=model", "v=ttft_s"]))
    assert len(imported.runs) == 1


def test_a_column_may_have_an_equals_sign() -> None:
    assert parse_mapping(["a=b=model"]) == {"a=b": "model"}


def test_two_versions_of_an_engine_are_not_averaged(store: Store) -> None:
    table = "model,engine,build,tps\nTiny,llama.cpp,b1000,10\nTiny,llama.cpp,b2000,30\nTiny,llama.cpp,b2000,30\n"
    mapping = parse_mapping(["model=model", "engine=engine", "build=engine_version", "tps=decode_tps.mean@chat"])
    study, _ = add(store, *read_data("t.csv", table.encode(), mapping=mapping))
    key = "decode_tps.mean@chat"
    points = configuration_points(store.figure_frame([key], study.id), store.run_frame(study.id), {}, [key])
    assert dict(zip(points.meta["engine_version"], points.value[key], strict=True)) == {"b1000": 10.0, "b2000": 30.0}
    assert dict(zip(points.meta["engine_version"], points.runs[key], strict=True)) == {"b1000": 1, "b2000": 2}
