"""The form of an engine's settings: what a link may fill, and how much it may ask for."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest

from trilemma.engines.endpoint.settings import EndpointSettings
from trilemma.engines.llama_cpp import LlamaCppSettings


def page(settings_type) -> None:
    import streamlit as st

    from pages.parts.settings_form import settings_form

    st.session_state["found"] = settings_form(settings_type, "s")


def opened(settings_type: type, **query: str) -> AppTest:
    app = AppTest.from_function(page, default_timeout=60, args=(settings_type,))
    for name, value in query.items():
        app.query_params[name] = value
    return app.run()


def test_a_link_says_no_key_and_nobody_to_ask() -> None:
    app = opened(
        EndpointSettings, s_api_key_env="AWS_SECRET_ACCESS_KEY", s_prometheus_url="http://evil.example",
        s_power_query="x",
        s_energy_query="x", s_timeout_s="7",
    )  # fmt: skip
    assert not app.exception
    assert app.session_state["found"] == ([{"timeout_s": 7.0}], True)


def test_a_link_cannot_ask_for_more_combinations_than_there_is_memory() -> None:
    many = ",".join(map(str, range(1, 400)))
    app = opened(LlamaCppSettings, s_threads=many, s_context=many, s_batch=many, s_prefill_threads=many)
    assert not app.exception
    assert app.session_state["found"] == ([{}], False)
    assert any("combinations" in caption.value for caption in app.caption)
