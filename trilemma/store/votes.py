"""Blind votes between answers, kept with their study."""

from __future__ import annotations

import secrets

import sqlalchemy as sa

from trilemma.errors import NotFoundError
from trilemma.records import Vote
from trilemma.store import tables as t
from trilemma.store.base import StoreBase


class VoteStore(StoreBase):
    """Votes change nothing that Explore shows, so that :meth:`Store.version` stays as it is."""

    def add_vote(self, study_id: str, vote: Vote) -> Vote:
        """Keep a vote; returned with its id.

        Raises:
            NotFoundError: there is no such study.
        """
        kept = vote.model_copy(update={"id": secrets.token_hex(6)})
        with self._db.write(durable=True) as connection:
            query = sa.select(t.studies.c.id).where(t.studies.c.id == study_id)
            if connection.execute(query).scalar() is None:
                raise NotFoundError(f"There is no study {study_id!r}.", "List the studies with `trilemma show`.")
            row = kept.model_dump() | {"study_id": study_id, "choice": kept.choice.value, "created_by": self._by}
            connection.execute(sa.insert(t.votes).values(row))
        return kept

    def votes(self, study_id: str) -> list[Vote]:
        """The votes of a study, the earliest first."""
        columns = [column for column in t.votes.c if column.name not in ("study_id", "created_by")]
        query = sa.select(*columns).where(t.votes.c.study_id == study_id).order_by(t.votes.c.created_at, t.votes.c.id)
        with self._db.read() as connection:
            return [Vote.model_validate(dict(row._mapping)) for row in connection.execute(query)]

    def delete_vote(self, vote_id: str) -> bool:
        """Take a vote back; whether it was there."""
        with self._db.write() as connection:
            return connection.execute(sa.delete(t.votes).where(t.votes.c.id == vote_id)).rowcount > 0
