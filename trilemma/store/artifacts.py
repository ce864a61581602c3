"""The catalog's side of the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from trilemma.errors import NotFoundError
from trilemma.schema import Artifact
from trilemma.store import tables as t
from trilemma.store.base import StoreBase
from trilemma.store.studies import is_own

_MIN_PREFIX = 4


class ArtifactStore(StoreBase):
    """Artifacts, keyed by the hash of their content."""

    def add_artifact(self, a: Artifact) -> Artifact:
        """Add an artifact, or renew what is known of one; returned as stored.

        The first ``added_at`` and ``source`` stay, derivations add up, and a field that ``a`` leaves empty keeps its
        value.
        """
        with self._db.write(durable=True) as connection:
            where = t.artifacts.c.id == a.id
            columns = (t.artifacts.c.document, t.artifacts.c.forgotten, t.artifacts.c.created_by)
            row = connection.execute(sa.select(*columns).where(where).with_for_update()).one_or_none()
            by = self._by
            if row is not None:
                old = Artifact.model_validate(row.document)
                by = by if row.forgotten else row.created_by
                # What is known from the sample study alone says nothing of the file that is added here.
                a = _merge(old, a) if old.path else a
                connection.execute(sa.delete(t.artifacts).where(where))
            connection.execute(sa.insert(t.artifacts).values(artifact_row(a, forgotten=False) | {"created_by": by}))
            self._changed(connection)
        return a

    def artifacts(self, *, forgotten: bool = False) -> list[Artifact]:
        """All artifacts of the catalog, by model and from the largest to the smallest.

        With ``forgotten`` also those that it does not list any more, or never did, but that runs refer to.
        """
        query = sa.select(t.artifacts.c.document)
        if not forgotten:
            query = query.where(t.artifacts.c.forgotten.is_(False))
        with self._db.read() as connection:
            found = [Artifact.model_validate(document) for document in connection.execute(query).scalars()]
        return sorted(found, key=lambda a: (a.model.lower(), -a.size_bytes, a.id))

    def models(self) -> list[str]:
        """The names of all models in the order in which they came, which gives them their colours.

        Those that are known from the sample study alone come last, so that nothing changes when it goes.
        """
        # Not those of a store that hides paths: the order would be another, and with it the colours.
        known = sorted(ArtifactStore.artifacts(self, forgotten=True), key=lambda a: (not a.path, a.added_at, a.id))
        return list(dict.fromkeys(artifact.model for artifact in known))

    def artifact(self, artifact_id: str) -> Artifact:
        """One artifact; also one that was forgotten, as long as runs refer to it.

        Raises:
            NotFoundError: there is no such artifact.
        """
        query = sa.select(t.artifacts.c.document).where(t.artifacts.c.id == artifact_id)
        with self._db.read() as connection:
            document = connection.execute(query).scalar()
        if document is None:
            raise NotFoundError(f"There is no artifact {artifact_id[:12]!r}.", "List them with `trilemma models`.")
        return Artifact.model_validate(document)

    def find_artifact(self, prefix_or_label: str) -> Artifact:
        """The one artifact whose id begins so (4 digits or more), or that has this label, file name or model name.

        Raises:
            NotFoundError: none fits, or several do.
        """
        wanted = prefix_or_label.strip().lower()
        everything = self.artifacts()
        tests = (
            lambda a: len(wanted) >= _MIN_PREFIX and a.id.startswith(wanted),
            lambda a: a.label.lower() == wanted,
            lambda a: wanted in (Path(a.path).name.lower(), a.path.lower()),
            lambda a: a.model.lower() == wanted,
        )
        for test in tests:
            found = [artifact for artifact in everything if test(artifact)]
            if len(found) == 1:
                return found[0]
            if found:
                some = ", ".join(f"{a.id[:12]} ({a.label})" for a in found[:5])
                raise NotFoundError(
                    f"{prefix_or_label!r} could be any of {len(found)} artifacts: {some}.", "Give more of the id."
                )
        raise NotFoundError(f"No artifact is called {prefix_or_label!r}.", "List them with `trilemma models`.")

    def forget_artifact(self, artifact_id: str) -> None:
        """Take an artifact out of the catalog; its file and its runs stay, and the runs keep its name.

        Raises:
            NotFoundError: there is no such artifact.
        """
        self.artifact(artifact_id)
        with self._db.write() as connection:
            where = t.artifacts.c.id == artifact_id
            used = sa.exists().where(t.runs.c.artifact_id == artifact_id)
            connection.execute(sa.update(t.artifacts).where(where).values(forgotten=True))
            connection.execute(sa.delete(t.artifacts).where(where, ~used))
            self._changed(connection)

    def runs_using(self, artifact_id: str) -> int:
        """How many runs of the user's own measure this artifact."""
        query = sa.select(sa.func.count()).select_from(t.runs)
        query = query.where(t.runs.c.artifact_id == artifact_id, is_own(t.runs))
        with self._db.read() as connection:
            return int(connection.execute(query).scalar_one())


def artifact_row(a: Artifact, *, forgotten: bool) -> dict[str, Any]:
    """The row of an artifact."""
    return {
        "id": a.id,
        "model": a.model,
        "quantization": a.quantization,
        "path": a.path,
        "added_at": a.added_at,
        "forgotten": forgotten,
        "document": a.model_dump(mode="json"),
    }


def _merge(old: Artifact, new: Artifact) -> Artifact:
    empty = {name for name, value in new if value in (None, "", 0, 0.0, ())}
    changes = {name: getattr(old, name) for name in empty}
    derivations = (*old.derivations, *(d for d in new.derivations if d not in old.derivations))
    changes |= {
        "added_at": old.added_at,
        "source": old.source,
        "derivations": derivations,
        "requantized": old.requantized or new.requantized,
    }
    return new.model_copy(update=changes)
