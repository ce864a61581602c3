"""``trilemma models | quantise``: what weights there are; adding, deleting and converting them; making ladders."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from trilemma import registry
from trilemma.access.guard import Deed, Guard
from trilemma.access.roles import Action
from trilemma.analysis.format import BLANK, digits, format_figure
from trilemma.catalog.base import Offer
from trilemma.catalog.base import Progress as ProgressCall
from trilemma.catalog.catalog import DTYPES, LADDER, Catalog
from trilemma.catalog.endpoints import checked_address
from trilemma.cli.base import Json, acting, confirm, emit_json, err, out, plain, session, table
from trilemma.errors import CatalogError
from trilemma.schema import Artifact

app = typer.Typer(help="List, find, add and delete weights.", invoke_without_command=True)


@app.callback()
def listing(ctx: typer.Context, json_: Json = False) -> None:
    """List the weights in the catalog."""
    if ctx.invoked_subcommand:
        return
    with session() as (_, store):
        artifacts = sorted(store.artifacts(), key=lambda a: (a.model, -a.bits_per_weight))
    if json_:
        emit_json(artifacts)
        return
    if not artifacts:
        out.print("The catalog is empty. `trilemma models find` lists what can be added.")
        return
    shown = table(
        "id",
        "model",
        "format",
        "quantization",
        "size",
        "bits/weight",
        "context",
        "from",
        right=("size", "bits/weight", "context"),
    )
    for artifact in artifacts:
        shown.add_row(
            artifact.id[:12],
            plain(artifact.model),
            artifact.format if artifact.kind == "model" else f"{artifact.format} {artifact.kind}",
            plain(artifact.quantization + (" *" if artifact.requantized else "")),
            format_figure(artifact.size_bytes or None, "B"),
            digits(artifact.bits_per_weight) if artifact.bits_per_weight else BLANK,
            str(artifact.context_length or BLANK),
            plain(artifact.source),
        )
    out.print(shown)
    if any(artifact.requantized for artifact in artifacts):
        out.print("* made from an already quantized parent", style="dim")


@app.command("add-endpoint")
def add_endpoint(
    address: Annotated[str, typer.Argument(help="Such as http://127.0.0.1:8000/v1.")],
    model: Annotated[str, typer.Option("--model", help="Its name there; asked for if it is the only one.")] = "",
    quantization: Annotated[str, typer.Option(help="What its weights are in, as you know it.")] = "",
    api_key_env: Annotated[
        str | None, typer.Option("--api-key-env", help="NAME of the variable that holds the key, for the question.")
    ] = None,
    json_: Json = False,
) -> None:
    """Add a model that a server with OpenAI's routes runs."""
    with acting() as (settings, guard), guard.doing(Action.ADD_ENDPOINT, checked_address(address)) as store:
        catalog = Catalog(store, settings)
        artifact = catalog.add_endpoint(address, model, quantization=quantization, api_key_env=api_key_env)
    if json_:
        emit_json(artifact)
    else:
        out.print(plain(f"Added {artifact.label} at {artifact.path} as {artifact.id[:12]}."))


@app.command()
def find(
    query: Annotated[str, typer.Argument(help="Part of a name; needed to search the hub.")] = "",
    source: Annotated[
        list[str] | None, typer.Option("--source", help="Ask only these: folder, packages, hub ...")
    ] = None,
    json_: Json = False,
) -> None:
    """Search for weights that can be added: folders, installed packages and, with a query, the hub."""
    with session() as (settings, store):
        catalog = Catalog(store, settings)
        asked = source or [name for name in registry.names("trilemma.sources") if query or name != "hub"]
        offers: list[Offer] = []
        problems: list[CatalogError] = []
        for name in asked:
            try:
                offers += list(catalog.offers(query, name))
            except CatalogError as error:
                problems.append(error)
    if problems and not offers and source:
        raise problems[0]
    for problem in problems:
        err.print(plain(f"{problem}", "yellow"))
    if json_:
        emit_json([vars(offer) for offer in offers])
        return
    if not offers:
        out.print("Nothing was found. Set TRILEMMA_MODELS to a folder of weights, or search the hub by name.")
        return
    shown = table("add with", "model", "quantization", "size", "licence", right=("size",))
    for offer in offers:
        shown.add_row(
            plain(reference_text(offer)),
            plain(offer.model),
            plain(offer.quantization),
            format_figure(offer.size_bytes, "B"),
            plain(offer.licence or ""),
        )
    out.print(shown)


@app.command()
def add(
    reference: Annotated[
        str,
        typer.Argument(
            help="A GGUF file, a folder of safetensors, package:NAME, hub:OWNER/REPO/FILE.gguf, or hub:OWNER/REPO."
        ),
    ],
    json_: Json = False,
) -> None:
    """Add weights to the catalog: of this machine, of an installed package, or of the hub."""
    title = f"Adding {Path(reference).name}"
    with acting() as (settings, guard), _transfer(title) as advance, _adding(guard, reference) as store:
        artifact = add_reference(Catalog(store, settings), reference, advance)
    if json_:
        emit_json(artifact)
    else:
        out.print(plain(f"Added {artifact.label} as {artifact.id[:12]}."))


@app.command()
def delete(
    artifact: Annotated[str, typer.Argument(help="The id, its beginning, or the label.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete an artifact; files that Trilemma made or fetched go too, your own stay. Measurements are kept."""
    with acting() as (settings, guard):
        found = guard.store.find_artifact(artifact)
        runs = guard.store.runs_using(found.id)
        if not yes:
            used = f" {runs} run{'s' if runs != 1 else ''} measured it; their figures stay." if runs else ""
            confirm(f"Delete {found.label}?{used}")
        with guard.doing(Action.DELETE_WEIGHTS, found.id) as store:
            removed = Catalog(store, settings).delete(found.id, remove_file=True)
    out.print(plain(f"Deleted {found.label}{'' if removed else '; its file is yours and stays'}."))


def quantise(
    artifact: Annotated[str, typer.Argument(help="What to make them of: an id, its beginning, or a label.")],
    to: Annotated[str, typer.Option("--to", help=f"Separated by commas: {', '.join(LADDER)}.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the predicted sizes; make nothing.")] = False,
    json_: Json = False,
) -> None:
    """Make a ladder of quantizations of one artifact."""
    wanted = list(dict.fromkeys(name.strip().upper() for name in to.split(",") if name.strip()))
    if not wanted:
        raise typer.BadParameter("Name at least one quantization.", param_hint="--to")
    with acting() as (settings, guard):
        catalog = Catalog(guard.store, settings)
        parent = guard.store.find_artifact(artifact)
        sizes = {name: catalog.predict_size(parent, name) for name in wanted}
        if dry_run:
            _print_ladder(catalog, parent, wanted, as_json=json_)
            return
        made = []
        for name in wanted:
            title = f"{parent.model} {name} ({format_figure(sizes[name], 'B')})"
            deed = guard.doing(Action.QUANTISE, f"{parent.label} into {name}", size_bytes=sizes[name])
            with _transfer(title, size=False) as advance, deed as store:
                made.append(Catalog(store, settings).quantise(parent, name, advance))
            err.print(plain(f"{made[-1].label}: {format_figure(made[-1].size_bytes, 'B')}, {made[-1].id[:12]}"))
    if json_:
        emit_json(made)


@app.command()
def convert(
    artifact: Annotated[str, typer.Argument(help="An id, its beginning, or a label.")],
    dtype: Annotated[
        str | None, typer.Option("--dtype", help=f"{', '.join(DTYPES)}; of quantized weights F16 if left out.")
    ] = None,
    json_: Json = False,
) -> None:
    """Make safetensors of a GGUF model, for vLLM, or GGUF of a PEFT adapter, for llama.cpp: the llama family only."""
    with acting() as (settings, guard):
        parent = guard.store.find_artifact(artifact)
        deed = guard.doing(Action.CONVERT, parent.label)
        with _transfer(f"Converting {parent.label}") as advance, deed as store:
            made = Catalog(store, settings).convert(parent, dtype, advance)
    if json_:
        emit_json(made)
    else:
        out.print(plain(f"Made {made.label} as {made.id[:12]} in {made.path}."))


def _print_ladder(catalog: Catalog, parent: Artifact, wanted: list[str], *, as_json: bool) -> None:
    steps = [step for step in catalog.ladder(parent) if step.quantization in wanted]
    if as_json:
        emit_json([vars(step) for step in steps])
        return
    shown = table("quantization", "predicted size", "is there", "notes", right=("predicted size",))
    for step in steps:
        shown.add_row(
            step.quantization,
            format_figure(step.predicted_bytes, "B"),
            step.existing.id[:12] if step.existing else "",
            plain(" ".join(step.notes)),
        )
    out.print(shown)


def reference_text(offer: Offer) -> str:
    """What ``trilemma models add`` takes for ``offer``."""
    return offer.reference if offer.source == "folder" else f"{offer.source.partition(':')[0]}:{offer.reference}"


def add_reference(catalog: Catalog, reference: str, progress: ProgressCall | None = None) -> Artifact:
    """Add ``SOURCE:REFERENCE`` (``package:NAME``, ``hub:OWNER/REPO``) or the path of a file or folder.

    Raises:
        CatalogError: it is missing, corrupt or refused.
    """
    source, colon, rest = reference.partition(":")
    names = {**{name: name for name in catalog.sources()}, "package": "packages"}
    if colon and rest and source in names:
        return catalog.add(names[source], rest, progress)
    return catalog.add_path(Path(reference).expanduser(), progress)


def _adding(guard: Guard, reference: str) -> Deed:
    return guard.doing(Action.ADD_WEIGHTS, reference)


@contextmanager
def _transfer(title: str, *, size: bool = True) -> Iterator[ProgressCall]:
    """A progress bar on stderr, and what moves it: (done, in all) in bytes, or in anything unless ``size``."""
    columns: list[ProgressColumn] = [TextColumn("{task.description}", markup=False), BarColumn()]
    columns += [DownloadColumn(binary_units=True)] if size else [TaskProgressColumn()]
    with Progress(*columns, TimeRemainingColumn(), console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(str(plain(title)), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)
