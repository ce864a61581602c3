"""Settings, resources, the log's figures and chat templates of the llama.cpp engine: what needs no weights."""

from __future__ import annotations

import os

import pytest

from trilemma.engines.base import parse_settings
from trilemma.engines.llama_cpp import LlamaCppSettings, chat, logs
from trilemma.errors import EngineError


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"threads": 0}, "threads"),
        ({"threads": "many"}, "threads"),
        ({"context": 4}, "context"),
        ({"kv_cache_type": "q5_1"}, "kv_cache_type"),
        ({"kv_cache_type": "q8_0", "flash_attention": "off"}, "flash_attention"),
        ({"batch": 32}, "micro_batch"),
        ({"thread": 2}, "thread"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, object], field: str) -> None:
    with pytest.raises(EngineError, match=field):
        parse_settings(LlamaCppSettings, settings)  # type: ignore[arg-type]


def test_every_setting_tells_the_page_what_it_is() -> None:
    for name, field in LlamaCppSettings.model_json_schema()["properties"].items():
        assert field["title"], name
        assert field["description"].endswith("."), name
        assert "unit" in field, name


def test_threads_are_those_that_the_process_may_use() -> None:
    mine = os.sched_getaffinity(0)
    one = {min(mine)}
    try:
        os.sched_setaffinity(0, one)
        assert LlamaCppSettings().decode_threads == LlamaCppSettings().batch_threads == 1
    finally:
        os.sched_setaffinity(0, mine)
    assert LlamaCppSettings(threads=3).batch_threads == 3
    assert LlamaCppSettings(threads=3, prefill_threads=5).batch_threads == 5


LOG = """\
load_tensors:   CPU_Mapped model buffer size =   100.00 MiB
load_tensors:   CPU_REPACK model buffer size =    50.50 MiB
llama_context:        CPU  output buffer size =     1.00 MiB
llama_kv_cache:        CPU KV buffer size =     6.00 MiB
llama_kv_cache:        CPU KV buffer size =     4.00 MiB
sched_reserve:        CPU compute buffer size =    30.00 MiB
something else about nothing
sched_reserve:        CPU compute buffer size =    15.50 MiB
"""


def test_buffers_are_read_from_the_log() -> None:
    split = logs.memory_split(LOG.splitlines())
    mib = 2**20
    assert split.weights_bytes == 150.5 * mib
    assert split.kv_cache_bytes == 10 * mib, "a sliding-window model has two caches"
    assert split.compute_bytes == 16.5 * mib, "a buffer reserved again replaces the first"
    assert split.detail["CPU_REPACK model"] == 50.5 * mib
    assert logs.memory_split(["nothing"]).weights_bytes is None


def test_the_log_takes_anything(capsys: pytest.CaptureFixture[str]) -> None:
    with logs.capture() as log:
        logs._receive(4, b"reader: half a ", None)
        logs._receive(5, b"line \xff\n", None)
        logs._receive(2, None, None)
        logs._receive(2, b"of no use\n", None)
        logs._receive(99, b"no such level\n", None)
    assert log.errors == ["half a line \ufffd"]
    assert log.reason() == "half a line \ufffd"
    written = capsys.readouterr()
    assert "half a line" in written.err
    assert "of no use" not in written.err
    assert written.out == ""
    logs._receive(4, b"after\n", None)
    assert len(log.errors) == 1


USER = [{"role": "user", "content": "{{ 7 * 7 }} <b>"}]


def test_a_template_sees_messages_as_data() -> None:
    template = "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m['content'] }}{% endfor %}{{ eos_token }}"
    assert chat.render(template, USER, bos="<s>", eos="</s>") == "<s>[user]{{ 7 * 7 }} <b></s>"


@pytest.mark.llama
@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ cycler.__init__.__globals__.os.system('id') }}",
        "{% for i in range(10 ** 9) %}x{% endfor %}",
        "{{ raise_exception('roles must alternate') }}",
        "{% if %}",
        "{{ 1 / 0 }}",
        "{{ 'a' * 10 ** 12 }}",
        "{{ messages * 10 ** 12 }}",
        "{{ 9 ** 9 ** 9 }}",
    ],
)
def test_a_hostile_or_broken_template_is_refused(template: str) -> None:
    with pytest.raises(EngineError, match="template"):
        chat.render(template, USER, bos="", eos="")


@pytest.mark.llama
def test_without_a_template_chatml_is_used() -> None:
    text = chat.render(None, [{"role": "user", "content": "naïve"}], bos="", eos="")
    assert text == "<|im_start|>user\nnaïve<|im_end|>\n<|im_start|>assistant\n"
