"""Chat templates, which come with the weights."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.fuzz.inputs import texts
from tests.fuzz.surface import Surface
from trilemma.engines.llama_cpp import template

_EXPRESSIONS = (
    "''.__class__.__mro__", "messages[0]", "messages.append(1)", "cycler.__init__.__globals__", "raise_exception('x')",
    "self",
    "x ~ x", "x + x", "x * 3", "2 ** 9", "9 ** 9 ** 9", "9999999999 * 9999999999", "range(100000) | list", "range(10)",
    "loop.index",
    "messages | tojson(indent=2)", "messages | map(attribute='__class__') | list", "messages | attr('__init__')",
    "1 / 0", "namespace(a=1)",
    "('%' ~ 9 ~ 'd') % 1", "'%1000000000d' % 1", "'{:>1000000000}'.format(1)", "'{0.__class__}'.format(1)",
    "'a'.ljust(9999999999)",
    "'a' | center(1000000000)", "1 | round(1000000000)", "x | replace('a', x)", "x.replace('', x)", "x | join(x)",
    "dict(a=x)",
    "strftime_now('%Y')", "strftime_now(x)", "lipsum(n=10000000)", "messages | sum", "x | int", "x is string",
    "x | urlize", "x[::-1]",
    "joiner(x)()", "x.format_map({})", "x.encode()", "none.x", "messages | groupby('role') | list",
    "x.join(range(100000) | map('string'))",
    "bos_token", "''.join", "x | indent(100000)", "cycler(1).reset", "[x] * 1000000", "caller()", "super()",
    "undefined_name.x.y",
)  # fmt: skip
_STATEMENTS = (
    "{{% set x = {} %}}", "{{{{ {} }}}}", "{{% for i in {} %}}{{{{ i }}}}{{% endfor %}}", "{{% if {} %}}y{{% endif %}}",
    "{{% for m in messages %}}{{{{ {} }}}}{{% endfor %}}", "{{% set ns = namespace(x={}) %}}{{% set ns.x = ns %}}",
    "{{% macro f(a) %}}{{{{ {} }}}}{{% endmacro %}}{{{{ f(1) }}}}", "{{% include {} %}}", "{{% extends {} %}}",
    "{{% import {} as q %}}",
    "{{% for i in range(100000) %}}{{% for j in range(100000) %}}{{{{ {} }}}}{{% endfor %}}{{% endfor %}}",
    "{{% filter upper %}}{}{{% endfilter %}}",
    "{{% for i in [x] recursive %}}{{{{ loop([{}]) }}}}{{% endfor %}}", "{{% call {} %}}x{{% endcall %}}",
    "{{% raw %}}{}{{% endraw %}}", "{{# {} #}}",
)  # fmt: skip
_expressions = st.recursive(
    st.one_of(st.sampled_from(_EXPRESSIONS), st.sampled_from(("x", "messages", "1", "'a'", "-1.5", "none"))),
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(("+", "*", "~", "**", "%", "//", "in", "and",
        "if x else", "<")),
                  inner),
        st.builds("{}.{}".format, inner, st.sampled_from(("upper()", "split()", "__class__", "content", "items()",
        "x"))),
        st.builds("{} | {}".format, inner, st.sampled_from(("length", "list", "tojson", "string", "unique | list",
        "sort", "trim",
                                                              "batch(2) | list", "wordwrap", "e", "round(3)",
                                                              "float"))),
        st.builds("{}[{}]".format, inner, inner),
    ),
    max_leaves=4,
)  # fmt: skip
_templates = st.one_of(
    st.lists(st.builds(lambda how, what: how.format(what), st.sampled_from(_STATEMENTS), _expressions), min_size=1,
    max_size=4)
    .map("".join),
    st.lists(st.one_of(st.sampled_from(("{%", "%}", "{{", "}}", "for", "endfor", "if", "|", "x")), texts),
    max_size=6).map(" ".join),
)  # fmt: skip
_DOUBLING = "{% set x = 'abcdefgh' %}" + "{% set x = x ~ x %}" * 40 + "{{ x }}"
_NESTED = "{% for i in range(100000) %}" * 3 + "{% endfor %}" * 3


def _template(source: str) -> None:
    # Half of the templates' own names are made up here, so that expressions reach something.
    variables = {"messages": [{"role": "user", "content": "{{ 7 * 7 }}"}], "bos_token": "<s>", "eos_token": "</s>",
                 "x": "aaaa", "tools": None}  # fmt: skip
    try:
        text = template.render(source, variables, seconds=0.2)
    except template.FAILURES:
        return
    assert isinstance(text, str)
    for reached in ("<class 'str'>", "<class 'object'>", "__builtins__", "<module "):
        assert reached not in text or reached in source


SURFACES = (
    Surface(
        "Chat templates", _templates, _template, share=1,
        examples=(_DOUBLING, _NESTED, "{{ 1 | round(1000000000) }}", "{{ lipsum(n=100000000) }}",
            "{{ '%1000000000d' % 1 }}",
                  "{{ 'a' | center(10000000000) }}", "{{" + "(" * 300 + "1" + ")" * 300 + "}}",
                  "{{ x.replace('', x * 100000) }}",
                  "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"),
    ),
)  # fmt: skip
