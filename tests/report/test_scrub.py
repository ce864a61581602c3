"""What is taken out of texts before they leave the machine, and what is not."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trilemma.scrub import Scrubber

NAMES = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789_.-", min_size=1, max_size=12).filter(lambda s: s.strip("."))


@given(
    st.lists(NAMES, min_size=2, max_size=5),
    st.sampled_from(["{}", "cannot open {}", "'{}': gone", '{{"a": "{}"}}', "at:{}"]),
)
def test_of_an_absolute_path_only_the_last_part_is_left(parts: list[str], sentence: str) -> None:
    path = "/" + "/".join(parts)
    cleaned = Scrubber().text(sentence.replace("{{", "{").replace("}}", "}").replace("{}", path))
    assert f"…/{parts[-1]}" in cleaned
    assert f"/{parts[0]}/" not in cleaned


@pytest.mark.parametrize(
    "text",
    [
        "1.2 J/tok", "HuggingFaceTB/SmolLM2", "http://127.0.0.1:8000/v1/models", "and/or/both", "a / b / c", "Q4_K_M",
        "</script><img src=x onerror=alert(1)>", "https://github.com/owner/name", "2 requests/s", "50 %/50 %",
    ],
)  # fmt: skip
def test_what_is_no_path_stays(text: str) -> None:
    assert Scrubber().text(text) == text


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        (r"C:\Users\ada\model.gguf is gone", "…/model.gguf is gone"),
        ("file:///home/ada/x.gguf", "…/x.gguf"),
        ("opens /home/ada/", "opens …/"),
        ("http://ada:geheim@example.org/v1", "http://example.org/v1"),
        ("Authorization: Bearer abcdefghijkl", "Authorization: Bearer [removed]"),
        ("token hf_abcdefghijkl refused", "token [removed] refused"),
        ("?api_key=abcdef&x=1", "?api_key=[removed]&x=1"),
        ("a\x00b\u202ec\x1b[31m", "abc[31m"),
    ],
)
def test_what_is_private_goes(text: str, cleaned: str) -> None:
    assert Scrubber().text(text) == cleaned


def test_a_known_folder_goes_though_its_name_has_spaces() -> None:
    scrub = Scrubber(["/mnt/my own disk/a b/c.gguf", "http://host/v1"])
    assert scrub.text("in /mnt/my own disk/other file.gguf") == "in …/other file.gguf"
    assert scrub.text("in /mnt/my own disk/a b/c.gguf") == "in …/c.gguf"
    assert scrub.text("at http://host/v1") == "at http://host/v1"


def test_everything_inside_a_value_is_cleaned() -> None:
    value = {"/a/b/c": [("/d/e/f", 1, None, 2.5, True)], "n": {"x": "/g/h"}}
    assert Scrubber().deep(value) == {"…/c": [["…/f", 1, None, 2.5, True]], "n": {"x": "…/h"}}
    settings = json.dumps({"lora": "/home/ada/adapter.gguf", "threads": 2})
    assert json.loads(Scrubber().text(settings)) == {"lora": "…/adapter.gguf", "threads": 2}
