"""Puts the sample study into a store: when it is asked for, or into an empty one, once."""

from __future__ import annotations

from trilemma.records import SAMPLE, StudyRecord, WholeStudy
from trilemma.sample.file import packaged
from trilemma.store import Store


def add_sample(store: Store, whole: WholeStudy | None = None) -> StudyRecord:
    """Add ``whole``, the package's sample study if not given; nothing is written where the same one is there already.

    Raises:
        StoreError: it cannot be read or written.
    """
    whole = packaged() if whole is None else whole
    for study in store.studies():
        same = study.spec == whole.study.spec and study.created_at == whole.study.created_at
        if study.id == SAMPLE and same:
            return study
    return store.add_sample(whole)


def offer_sample(store: Store) -> bool:
    """Add the sample study to a store without any study, unless it was added or removed before; whether it was added.

    Raises:
        StoreError: it cannot be read or written.
    """
    if store.studies() or store.sample_offered():
        return False
    add_sample(store)
    return True
