"""The sections of a report, out of what was gathered."""

from __future__ import annotations

import json
from collections.abc import Iterator

from trilemma.analysis.format import BLANK, format_figure, key_title
from trilemma.analysis.headline import in_order
from trilemma.analysis.odds import front_odds
from trilemma.analysis.preferences import lower_first
from trilemma.analysis.text import count_of, pareto_text
from trilemma.charts.pareto import pareto_figure
from trilemma.charts.tables import points_table
from trilemma.figures import FIGURES
from trilemma.records import HostInfo, RunRecord
from trilemma.report.configurations import configurations
from trilemma.report.gather import Material
from trilemma.report.parts import Chart, Column, Listing, Section, Table, Value, drawn, rows_of
from trilemma.report.planned import planned
from trilemma.report.recommended import recommendation
from trilemma.report.voted import voted
from trilemma.report.words import how_measured, limits_of_validity, picture_sentences
from trilemma.schema import Axis, RunState, split_key

LEGEND = (
    "A filled mark is measured, a hollow one modelled, a diamond around it imported; a small triangle says that "
    "something disturbed the machine. Thin crosses are 95 % intervals. Better is always up and to the right."
)


def sections(material: Material) -> Iterator[Section]:
    """All sections, in the order in which they are read."""
    yield picture(material)
    if (told := recommendation(material)) is not None:
        yield told
    if (plan := planned(material)) is not None:
        yield plan
    yield configurations(material)
    if (votes := voted(material)) is not None:
        yield votes
    yield Section("method", "How it was measured", lists=(Listing("", tuple(how_measured(material))),))
    yield machine(material)
    yield Section("validity", "How far the figures hold", lists=(Listing("", tuple(limits_of_validity(material))),))
    if (runs := runs_to_know(material)) is not None:
        yield runs
    yield definitions(material)


def picture(material: Material) -> Section:
    """The Pareto chart of the view, and one of the axis that it leaves out."""
    charts = [pareto_chart(material, *material.axes, name="front")]
    if (other := other_axes(material)) is not None:
        charts.append(pareto_chart(material, *other, name="front-2"))
    sentences = picture_sentences(material)
    return Section("picture", "The picture", lead=tuple(sentences[:1]), paragraphs=tuple(sentences[1:]),
                   charts=tuple(charts))  # fmt: skip


def other_axes(material: Material) -> tuple[str, str] | None:
    """Two figures for a second picture, so that both show all three axes; None where there is no third."""
    known = {FIGURES[split_key(key)[0]].axis for key in material.axes}
    missing = [axis for axis in Axis if axis not in known]
    wanted = next((material.by_axis[axis] for axis in missing if axis in material.by_axis), None)
    if wanted is None:
        return None
    # Against what answers how well, if the first picture has it.
    against = material.axes[1] if material.axes[1] != wanted else material.axes[0]
    return wanted, against


def pareto_chart(material: Material, x: str, y: str, *, name: str) -> Chart:
    """The Pareto chart of two figures of what is shown."""
    shown, odds = material.shown, material.odds
    if (x, y) != material.axes and len(shown):
        odds = front_odds(shown, (x, y), material.items)
    light, dark = drawn(
        lambda dark: pareto_figure(
            shown, x, y, size=material.size, colours=material.colours(dark), dark=dark, odds=odds
        )
    )
    size = f" The area of a mark is {lower_first(key_title(material.size))}." if material.size else ""
    columns, rows = rows_of(points_table(shown, [x, y, *([material.size] if material.size else [])]))
    return Chart(
        name=name,
        title=f"{key_title(y)} against {lower_first(key_title(x))}",
        alt=pareto_text(shown, (x, y)),
        light=light,
        dark=dark,
        columns=columns,
        rows=rows,
        caption=LEGEND + size,
    )


def machine(material: Material) -> Section:
    """The machines, engines and versions of the runs that are counted."""
    done = [run for run in material.runs if run.state is RunState.DONE]
    hosts = {(run.host.id, run.host.name, run.host.gpu_driver): run.host for run in done if run.host is not None}
    tables = [_facts_table("Machine", host_facts(host)) for _, host in sorted(hosts.items())]
    engines: dict[str, tuple[tuple[str, str], ...]] = {}
    for run in done:
        facts = tuple((name, _spelled(value)) for name, value in sorted(run.engine_info.items()))
        if facts:
            engines.setdefault(json.dumps(facts), (("engine", run.spec.configuration.engine), *facts))
    tables += [_facts_table("Engine", facts) for _, facts in sorted(engines.items())[:8]]
    more = len(engines) - len(tables) + len(hosts)
    text = f"What {more:,} more engines say of themselves is in the figures inside this file." if more > 0 else ""
    return Section("machine", "Machine and versions", tables=tuple(tables), paragraphs=(text,) if text else ())


def host_facts(host: HostInfo) -> tuple[tuple[str, str], ...]:
    """What is known of a machine, in words."""
    facts = [
        ("system", f"{host.system} {host.machine}"),
        ("processor", f"{host.cpu}, {host.cores} usable"),
        ("memory", format_figure(host.memory_bytes, "B")),
        ("virtual", {True: "yes", False: "no", None: "unknown"}[host.virtualized]),
        ("GPUs", ", ".join(host.gpus) or "none"),
        ("GPU driver", host.gpu_driver),
        ("Python", host.python),
        ("Trilemma", host.trilemma),
        *sorted(host.packages.items()),
    ]
    return tuple((name, text) for name, text in facts if text)


def _facts_table(title: str, facts: tuple[tuple[str, str], ...]) -> Table:
    return Table(
        title, (Column(title), Column("")), tuple((Value(name), Value(text)) for name, text in facts), facts=True
    )


def _spelled(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def runs_to_know(material: Material) -> Section | None:
    """Runs that were disturbed, failed, did not fit, or are not done; None without any."""
    rows = []
    for run in material.runs:
        why = _why(run)
        if why:
            configuration = run.spec.configuration
            label = material.artifact_labels.get(configuration.artifact_id, configuration.artifact_id[:8])
            settings = ", ".join(f"{name} {_spelled(value)}" for name, value in sorted(configuration.settings.items()))
            device = f"emulated {configuration.profile.name}" if configuration.profile else ""
            about = ", ".join(part for part in (configuration.engine, settings, device) if part)
            state = "disturbed" if run.state is RunState.DONE else run.state.label
            rows.append((Value(label, about), Value(str(run.spec.repeat + 1)), Value(state), Value(why)))
    if not rows:
        return None
    columns = (Column("Configuration"), Column("Repeat", numbers=True), Column("State"), Column("Why"))
    text = (
        f"{count_of(len(rows), 'run')} of {len(material.runs):,}. A disturbed run counts only where there is no "
        "undisturbed repeat."
    )
    return Section(
        "runs", "Runs that were disturbed or have no result", paragraphs=(text,),
        tables=(Table("Runs to know of", columns, tuple(rows)),),
    )  # fmt: skip


def _why(run: RunRecord) -> str:
    if run.state is RunState.DONE:
        return "; ".join(run.disturbances) or "see its traces" if run.disturbed else ""
    return run.reason or ("not finished when this was written" if not run.state.final else "no reason is known")


def definitions(material: Material) -> Section:
    """What every figure in the report means."""
    names = list(dict.fromkeys(split_key(key)[0] for key in in_order(material.keys)))
    rows = []
    for name in names:
        one = FIGURES[name]
        rows.append(
            (
                Value(one.title, name), Value(one.unit or BLANK), Value("less" if one.better == "lower" else "more"),
                Value(one.definition), Value(str(one.version)),
            )
        )  # fmt: skip
    columns = (Column("Figure"), Column("Unit"), Column("Better"), Column("Definition"), Column("Version"))
    return Section("definitions", "What every figure means",
                   tables=(Table("Definitions", columns, tuple(rows)),))  # fmt: skip
