"""``trilemma serve | worker | doctor``: the processes, and what this machine can measure."""

from __future__ import annotations

from typing import Annotated

import typer

from trilemma import logs
from trilemma.cli.base import Json, emit_json, err, out, plain, report, table, whole_session
from trilemma.doctor import Status, diagnose
from trilemma.errors import StoreError
from trilemma.jobs.crew import work
from trilemma.sample.loading import offer_sample
from trilemma.serve import PORT, lets_anyone_in
from trilemma.serve import serve as serve_both
from trilemma.settings import get_settings
from trilemma.store import Store

_MARKS = {Status.OK: ("ok", "green"), Status.WARN: ("note", "yellow"), Status.MISSING: ("missing", "red")}


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 opens it to your network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the dashboard.")] = PORT,
    worker: Annotated[bool, typer.Option(help="Start a worker beside the dashboard.")] = True,
    browser: Annotated[bool, typer.Option(help="Open the browser.")] = True,
    metrics: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Also answer Prometheus, at this port of the same address.")
    ] = None,
    allow_anyone: Annotated[
        bool, typer.Option("--allow-anyone", help="Listen to the network without a log-in; everybody may do all.")
    ] = False,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(help="A name, without port, by which browsers may call the dashboard, such as a proxy's."),
    ] = None,
) -> None:
    """Start the dashboard and a worker; ctrl-C ends both."""
    with whole_session() as (settings, store):  # What cannot be used is better said now than by two children.
        if settings.sample:
            _offer_sample(store)
    anyone = lets_anyone_in(host, settings, allow_anyone=allow_anyone)
    if anyone:
        err.print(
            "Whoever reaches this address can start measurements and delete weights: there is no log-in.",
            style="yellow",
        )
    serve_both(
        host=host, port=port, worker=worker, browser=browser, metrics=metrics, allow_anyone=anyone,
        names=allowed_host or (), say=lambda text: err.print(plain(text)),
    )  # fmt: skip


def _offer_sample(store: Store) -> None:
    try:
        if offer_sample(store):
            err.print("There is a sample study to look around in; `trilemma sample remove` takes it away.")
    except StoreError as error:  # a dashboard without it is better than none
        report(error)


def worker(
    drain: Annotated[bool, typer.Option("--drain", help="End when the queue is empty.")] = False,
) -> None:
    """Measure what is queued, one run at a time and machine, until ctrl-C."""
    with whole_session() as (settings, store):
        logs.configure(settings.log_format)
        work(store, settings, drain=drain)


def doctor(json_: Json = False) -> None:
    """Say what this machine can measure, what is missing, and how to get it; exits with 1 if something is missing."""
    findings = diagnose(get_settings())
    if json_:
        emit_json(findings)
    else:
        shown = table("", "what", "found", "to do")
        for finding in findings:
            mark, style = _MARKS[finding.status]
            shown.add_row(plain(mark, style), plain(finding.name), plain(finding.detail), plain(finding.remedy))
        out.print(shown)
    if any(finding.status is Status.MISSING for finding in findings):
        raise typer.Exit(1)
