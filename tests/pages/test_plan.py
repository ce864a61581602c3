"""Plan on a real store: defaults, the URL, what is modelled, and what cannot be promised."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from tests.factory import DEMO, HOST, artifact, fill_store
from trilemma.schema import Configuration, Measurement, Method, Provenance, RunSpec, RunState, StudySpec, WorkloadSpec
from trilemma.settings import Settings
from trilemma.store import Store

MEASURED = Provenance(method=Method.MEASURED, source="client's clock", scope="request")


@pytest.fixture(autouse=True)
def fresh_caches(settings: Settings) -> None:
    st.cache_resource.clear()


def plan(**query: str | list[str]) -> AppTest:
    def script() -> None:
        from pages import plan, shared

        with shared.errors_shown():
            plan.page()

    app = AppTest.from_function(script, default_timeout=120)
    for name, value in query.items():
        app.query_params[name] = value
    return app.run()


def told(app: AppTest) -> str:
    assert not app.exception
    return "\n".join(element.value for element in [*app.markdown, *app.caption])


def heading(app: AppTest) -> str:
    """``### 3 replicas`` without its marks."""
    assert not app.exception
    return next(m.value for m in app.markdown if m.value.startswith("### ") and "replica" in m.value)[4:]


def table(app: AppTest, column: str) -> pd.DataFrame:
    assert not app.exception
    found: pd.DataFrame = next(d.value for d in app.dataframe if column in d.value.columns)
    return found


def number(app: AppTest, label: str) -> float | None:
    return next(box.value for box in app.number_input if box.label == label)  # type: ignore[no-any-return]


def loaded_study(store: Store) -> str:
    """A configuration measured with one, four and eight users; its id."""
    weights = artifact("tiny", "Q8_0")
    store.add_artifact(weights)
    workload = WorkloadSpec(name="short_chat", prompt_tokens=128, output_tokens=64, requests=24, sweep=(1, 4, 8))
    configuration = Configuration(artifact_id=weights.id, engine="llama.cpp")
    spec = StudySpec(name="Loaded", configurations=(configuration,), workloads=(workload,))
    store.add_study(spec, [RunSpec(configuration=configuration, workloads=(workload,))])
    run = store.claim_next("test")
    assert run is not None
    store.start_run(run.id, HOST)
    measured = []
    for users, rate, first in ((1, 1.0, 0.1), (4, 2.5, 0.2), (8, 3.0, 0.4)):
        subject = "short_chat" if users == 1 else f"short_chat x{users}"
        each = users / rate
        for figure, statistic, value in (
            ("request_rate", "", rate), ("output_tps", "", 64 * rate), ("e2e_s", "mean", each),
            ("ttft_s", "mean", first), ("e2e_s", "median", each), ("power_w", "", 10.0 + 5 * users),
        ):  # fmt: skip
            measured.append(
                Measurement(figure=figure, subject=subject, statistic=statistic, value=value, provenance=MEASURED)
            )
    measured.append(Measurement(figure="idle_power_w", subject="loaded_idle", value=8.0, provenance=MEASURED))
    store.set_measurements(run.id, measured)
    store.finish_run(run.id, RunState.DONE)
    return configuration.id


def test_without_a_speed_the_page_says_what_will_be_here(store: Store) -> None:
    app = plan()
    assert not app.exception
    assert "Set up a study" in [button.label for button in app.button]


def test_sensible_defaults_come_of_the_study(store: Store) -> None:
    fill_store(store, DEMO[:2], 2)
    app = plan()
    text = told(app)
    assert "Modelled" in text
    assert "one request at a time" in text
    assert "Capacity under load was not measured" in text
    assert "modelled, not measured" in text.lower()
    assert number(app, "Requests a day") == 10_000
    assert number(app, "First token, p95, s") == 1.0
    rows = table(app, "Cost a month")
    assert rows["Deployment"].tolist() == ["Cloud", "On-premise", "Edge"]
    assert (rows["Cost a month"] != "not known").all()
    sources = table(app, "Source")
    assert sources["As of"].str.match(r"\d{4}").all()
    assert (sources["Source"] != "").all()


def test_more_requests_take_more_and_the_url_says_how_many(store: Store) -> None:
    fill_store(store, DEMO[:1], 1)
    few = plan(day="5000")
    many = plan(day="200000")
    assert int(heading(few).split()[0]) < int(heading(many).split()[0].replace(",", ""))
    assert number(many, "Requests a day") == 200_000
    box = next(box for box in few.number_input if box.label == "Requests a day")
    box.set_value(20_000.0).run()
    assert few.query_params["day"] in ("20000", ["20000"])
    assert not few.exception


def test_what_is_made_up_in_a_link_is_put_right(store: Store) -> None:
    fill_store(store, DEMO[:1], 1)
    app = plan(
        c="made-up", study="nothing", workload="none", day="nan", months="1e9", up="x", cloud="?", curve="night",
        view="3D", ttft="x", e2e="",
    )  # fmt: skip
    assert heading(app)
    assert number(app, "Requests a day") == 10_000
    assert number(app, "Months ahead") == 120


def test_a_link_names_the_configuration(store: Store) -> None:
    study = fill_store(store, DEMO[:3], 1)
    wanted = study.spec.configurations[2].id
    app = plan(study=study.id, c=wanted)
    assert not app.exception
    assert next(box.value for box in app.selectbox if box.label == "Configuration") == wanted


def test_a_measured_load_curve_is_used(store: Store) -> None:
    configuration = loaded_study(store)
    app = plan(c=configuration, e2e="4", day="100000")
    text = told(app)
    assert "Capacity under load was not measured" not in text
    assert "requests at a time" in text
    assert "all are taken to be alike" in text  # no single request was stored
    slots = plan(c=configuration, e2e="4", day="100000", slots="4")
    assert "4 requests at a time" in told(slots)


def test_a_limit_that_no_fleet_keeps_is_refused(store: Store) -> None:
    fill_store(store, DEMO[:1], 1)
    app = plan(e2e="0.01")
    assert not app.exception
    assert "No number of replicas keeps" in app.error[0].value
    # What is assumed can still be changed.
    assert number(app, "Whole answer, p95, s") == 0.01


def test_hours_of_ones_own(store: Store) -> None:
    fill_store(store, DEMO[:1], 1)
    for hours in ("1,2", ",".join(["1"] * 12 + ["x"] + ["1"] * 12), ",".join(["1"] * 12 + [""] + ["1"] * 12)):
        assert "cannot be read" in plan(curve="hours of your own", hours=hours).error[0].value
    app = plan(curve="hours of your own", hours=",".join(["1"] * 23 + ["9,"]))
    assert "23:00 to 0:00" in told(app).replace("\\", "")


@pytest.mark.parametrize("view", ["Cost by deployment", "Break-even", "What moves it most"])
def test_every_picture_is_drawn_and_says_that_it_is_modelled(store: Store, view: str) -> None:
    fill_store(store, DEMO[:1], 2)
    app = plan(view=view)
    assert "Modelled" in told(app)
    assert not app.exception
    assert not app.error


def test_a_team_uses_its_own_prices(store: Store, home: Path) -> None:
    fill_store(store, DEMO[:1], 1)
    folder = home / "planning"
    folder.mkdir()
    entry = '[cloud.ours]\ntitle = "Our <b>cloud</b> ![](http://evil.example/x.png)"\nper_hour = 3.5\n'
    (folder / "prices.toml").write_text(entry + 'source = "contract 7"\ndate = "2026-02"\n')
    app = plan()
    assert number(app, "Price an hour, USD") == 3.5
    assert "Your own: contract 7" in told(app).replace("\\", "")
    assert not any("![](http" in element.value for element in [*app.markdown, *app.caption])
    (folder / "prices.toml").write_text("[cloud.ours]\nper_hour = 'much'\n")
    assert "cloud" in plan().error[0].value


def test_a_price_is_an_example_until_it_is_edited(store: Store) -> None:
    fill_store(store, DEMO[:1], 1)
    text = told(plan()).replace("\\", "")
    assert "An example, to be replaced: a round number of this project" in text
    assert "not checked since" in text
    assert "rent at 0.200 USD an hour (example prices)" in text
    assert "Examples, not prices of yours" in text and "rented machine 0.2 USD an hour" in text
    text = told(plan(hourly="0.31", price="900", kwh="0.2", pue="1.1", grid="50")).replace("\\", "")
    assert "example" not in text.lower()
    assert text.count("Entered here.") == 5


def test_present_takes_along_what_was_planned(store: Store) -> None:
    study = fill_store(store, DEMO[:2], 1)
    one = study.spec.configurations[1].id
    app = plan(study=study.id, c=one, day="5000", preset="phone-edge", weights="60,20,20")
    link = next(element.proto for element in app.get("page_link") if element.proto.label == "Present")
    asked = dict(pair.split("=") for pair in link.query_string.split("&"))
    assert asked["c"] == one and asked["day"] == "5000" and asked["preset"] == "phone-edge"


def test_a_count_has_no_fraction(store: Store) -> None:
    fill_store(store, DEMO[:1], 1)
    app = plan(spares="1.6", devices="0.2", months="3.4")
    assert [number(app, label) for label in ("Replicas in reserve", "Devices", "Months ahead")] == [2, 1, 3]
    assert "and 2 in reserve" in told(app)


@pytest.mark.parametrize("view", ["Replicas through the day", "Cost by deployment", "Break-even", "What moves it most"])
def test_without_any_price_every_picture_says_so(store: Store, home: Path, view: str) -> None:
    fill_store(store, DEMO[:1], 1)
    (home / "planning").mkdir()
    (home / "planning" / "prices.toml").write_text('currency = "EUR"\n')
    app = plan(view=view)
    assert not app.exception and not app.error
    assert heading(app)
    said = told(app).replace("\\", "") + "".join(one.value for one in app.info)
    if view == "Break-even":
        assert "no break-even" in said
    elif view != "Replicas through the day":
        assert "No cost is known" in said


def test_devices_are_no_replicas(store: Store) -> None:
    fill_store(store, DEMO[:1], 2)
    app = plan(view="What moves it most", of="edge")
    assert not app.exception
    assert "plan_tornado_of" not in [one.key for one in app.segmented_control]
    assert "plan_tornado_of" in [one.key for one in plan(view="What moves it most", of="cloud").segmented_control]


def test_devices_that_cannot_bear_their_share_are_said_to_be_too_few(store: Store) -> None:
    fill_store(store, DEMO[:1], 2)
    app = plan(view="What moves it most", of="edge", devices="1", day="100000")
    text = told(app).replace("\\", "")
    assert "but devices cannot do this" in text
    assert "A device cannot answer its share of the busiest hour" in text
    assert app.segmented_control(key="plan:of").value == "cloud"
