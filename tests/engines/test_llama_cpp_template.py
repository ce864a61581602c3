"""Chat templates that reach out, never end or fill the memory; they come with the weights. Needs no weights itself."""

from __future__ import annotations

import resource
import sys
import time

import pytest
from jinja2.exceptions import SecurityError

from trilemma.engines.llama_cpp import template

MESSAGES = [{"role": "user", "content": "hello"}]


def rendered(source: str, seconds: float = 0.5) -> str:
    return template.render(source, {"messages": MESSAGES, "x": "a" * 1000}, seconds=seconds)


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
        "{% for i in range(100000) %}{% for j in range(100000) %}{{ i * j }}{% endfor %}{% endfor %}",
        "{{ range(100000) | map('string') | map('upper') | list * 30 }}" * 50,
        "{% macro f(n) %}{% for i in range(9) %}{{ f(n) }}{% endfor %}{% endmacro %}{{ f(1) }}",
    ],
)
def test_what_never_ends_is_ended(source: str) -> None:
    with pytest.raises(template.FAILURES):
        rendered(source)


def test_the_time_is_what_ends_it() -> None:
    with pytest.raises(SecurityError, match="longer than"):
        rendered("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}")


@pytest.mark.skipif(sys.platform != "linux", reason="the address space is limited on Linux")
@pytest.mark.parametrize(
    "source",
    [
        "{% set ns = namespace(t=x) %}{% for i in range(40) %}{% set ns.t = ns.t ~ ns.t %}{% endfor %}{{ ns.t }}",
        "{{ 'a' | center(100000000000) }}",
        "{{ '%100000000000d' % 1 }}",
        "{{ '{:>100000000000}'.format(1) }}",
        "{{ 'a'.ljust(100000000000) }}",
        "{{ (x * 1000).replace('a', x * 1000) }}",
        "{{ (x * 1000).join(range(100000) | map('string')) }}",
    ],
)
def test_what_takes_too_much_memory_is_refused(source: str) -> None:
    with pytest.raises(template.FAILURES):
        rendered(source, seconds=20)


@pytest.mark.parametrize(
    "source",
    ["{{ 1 | round(1000000000) }}", "{{ lipsum(n=1000) }}", "{{ x | urlize }}", "{{ 9 ** 9 ** 9 }}",
    "{{ 'a' * 10 ** 12 }}",
     "{{ (x * 240).rfind('ab' ~ x * 120) }}", "{{ (x * 240).rsplit('ab' ~ x * 120) }}",
     "{% set a = range(100) | list %}{{ ([a] * 8000) | sum(start=[]) | length }}",
     "{% set ns = namespace(n=9) %}{% for i in range(40) %}{% set ns.n = ns.n * ns.n %}{% endfor %}{{ ns.n }}"],
)  # fmt: skip
def test_what_would_be_one_long_step_is_refused(source: str) -> None:
    began = time.thread_time()
    with pytest.raises(template.FAILURES):
        rendered(source)
    assert time.thread_time() - began < 1.0, "it is refused and not ended"


def test_sums_and_searches_that_are_no_trouble_work() -> None:
    assert rendered("{{ [1, 2.5] | sum }} {{ messages | sum(attribute='n', start=1) if false else 0 }}") == "3.5 0"
    assert rendered("{{ 'a,b,c'.rsplit(',', 1)[-1] }}{{ 'abc'.rfind('c') }}") == "c2"


def test_limits_and_tracing_are_put_back() -> None:
    before, traced = resource.getrlimit(resource.RLIMIT_AS), sys.gettrace()
    rendered("{{ messages[0].content }}")
    with pytest.raises(template.FAILURES):
        rendered("{{ undefined_name.x }}")
    assert resource.getrlimit(resource.RLIMIT_AS) == before
    assert sys.gettrace() is traced


def test_what_templates_need_still_works() -> None:
    source = (
        "{%- for m in messages -%}<|{{ m['role'] | upper }}|>{{ m.content | trim }}{{ '\\n' * 2 }}{%- endfor -%}"
        "{{ messages | tojson }}{{ 2.345 | round(1) }}{{ 2 ** 10 }}{% if messages[0]['role'] == 'user' %}!{% endif %}"
        "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}{% set ns = namespace(a=0) %}"
        "{% for m in messages %}{% set ns.a = ns.a + 1 %}{% endfor %}{{ ns.a }}{{ strftime_now('%Y') | length }}"
    )
    assert rendered(source) == '<|USER|>hello\n\n[{"role": "user", "content": "hello"}]2.31024!114'
