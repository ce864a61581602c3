"""A model or adapter of a hub repository as a folder: its safetensors and what belongs to them, nothing else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from trilemma.catalog.base import Progress
from trilemma.catalog.files import HashCache, disk_errors, ensure_space, publish
from trilemma.catalog.hub_files import PART_SUFFIX, HubFiles
from trilemma.catalog.safetensors_folder import INDEX, file_names, is_weights_folder, read_folder, unusable


def fetch_snapshot(
    files: HubFiles,
    hashes: HashCache,
    repository: str,
    commit: str,
    sizes: Mapping[str, int],
    final: Path,
    progress: Progress | None = None,
) -> None:
    """Bring what is wanted of the repository's files (names and ``sizes``) at ``commit`` into the folder ``final``,
    which appears only when it is complete. An interrupted download is taken up where it ended.

    Raises:
        InvalidArtifactError: the repository has no safetensors, or they do not make a model.
        HubError: the hub is unreachable, refuses, or sent something else than it announced.
        DiskFullError: it does not fit.
    """
    if final.is_dir():
        return
    if not is_weights_folder(sizes):
        raise unusable(repository, sizes)
    staging = final.with_name(f".{final.name}{PART_SUFFIX}")
    if staging.is_dir():
        os.utime(staging)  # what is taken up again is not swept as left behind
    with disk_errors(final.parent, 0), files.alone(staging, repository):
        if INDEX in sizes:
            files.fetch(repository, commit, INDEX, staging / INDEX)
        names = file_names(staging, sizes)
        total, before = sum(sizes[name] for name in names), 0
        ensure_space(final.parent, total - sum(p.stat().st_size for p in staging.glob("*") if p.is_file()))
        digests = {}
        for name in names:

            def advance(done: int, _: int, start: int = before) -> None:
                if progress is not None:
                    progress(start + done, total)

            digests[name] = files.fetch(repository, commit, name, staging / name, advance)
            before += sizes[name]
            advance(0, 0, before)
        read_folder(staging)
        publish(staging, final)
    for name, digest in digests.items():
        hashes.remember(final / name, digest)
