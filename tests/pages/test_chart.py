"""What is below every chart: files with names that say what they are, and CSV without formulas."""

from __future__ import annotations

import io

import pandas as pd
import pytest

from pages.parts.chart import config, csv_bytes, file_name


def test_files_are_called_after_what_is_shown() -> None:
    assert file_name("Energy per token, short chat and Accuracy") == "trilemma-energy-per-token-short-chat-and-accuracy"
    assert file_name("../../etc/passwd\n<b>") == "trilemma-etc-passwd-b"
    assert len(file_name("x" * 500)) < 100


@pytest.mark.parametrize("bars", [False, True])
def test_a_picture_is_large_and_nothing_is_sent_to_a_cloud(bars: bool) -> None:
    found = config("run", bars=bars)
    assert found["toImageButtonOptions"] == {"format": "png", "filename": "trilemma-run", "scale": 2}
    assert found["showSendToCloud"] is False
    assert "toImage" not in found.get("modeBarButtonsToRemove", [])


def test_no_spreadsheet_finds_a_formula() -> None:
    table = pd.DataFrame({"=name": ["=1+1", "fine", None, "@x"], "value": [1.5, -2.0, None, 3.0]})
    read = pd.read_csv(io.BytesIO(csv_bytes(table)))
    assert list(read.columns) == ["'=name", "value"]
    assert read["'=name"].tolist()[:2] == ["'=1+1", "fine"]
    assert read["'=name"].tolist()[3] == "'@x"
    assert read["value"].tolist()[:2] == [1.5, -2.0], "a negative number is a number"
    assert list(table.columns) == ["=name", "value"], "the table itself is left as it is"


def test_bytes_are_taken_as_they_are() -> None:
    assert csv_bytes(b"a,b\n") == b"a,b\n"
