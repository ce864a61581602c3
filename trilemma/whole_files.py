"""Files and folders that are there whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trilemma.errors import DiskFullError, StoreError, TrilemmaError, is_disk_full


@contextmanager
def written_whole(target: Path, error: type[TrilemmaError] = StoreError) -> Iterator[Path]:
    """A path on the same disk, of the same name, for what takes ``target``'s place when all of it is written.

    Args:
        target: A file, which may exist, or a folder, which must be empty if it does.
        error: What is raised.

    Raises:
        DiskFullError: it does not fit.
        TrilemmaError: it cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".trilemma-", dir=target.parent) as scratch:
            made = Path(scratch) / target.name
            yield made
            made.replace(target)
    except OSError as caught:
        if is_disk_full(caught):
            raise DiskFullError(
                f"The disk is full; {target} was not written.", "Free some space, or choose another folder."
            ) from caught
        raise error(f"{target} cannot be written ({caught.strerror}).", "Choose another folder.") from caught
