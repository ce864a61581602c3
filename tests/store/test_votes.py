"""Votes are kept with their study: written, exported, deleted with it, and there in databases made before them."""

from __future__ import annotations

import csv
import json
import sqlite3
from pathlib import Path

import pandas as pd
import pytest
from alembic import command
from alembic.config import Config
from studies import add, run_specs, url_of

from trilemma.errors import NotFoundError
from trilemma.records import Choice, Vote
from trilemma.store import Store, open_store
from trilemma.store.database import Database
from trilemma.store.export import Format, export_study
from trilemma.store.migrate import _SCRIPTS

HOSTILE = "=cmd|' /C calc'!A0\nsecond line, with a comma\u2028and \"quotes\" 👩‍👧"


def vote(choice: Choice = Choice.A, **more: object) -> Vote:
    values = {
        "source": "gsm8k", "item_id": "gsm8k/3", "prompt": HOSTILE, "a_id": "1", "b_id": "2", "a_answer": HOSTILE,
        "b_answer": "", "choice": choice, "voter": "Ada", "asked": {"max_tokens": 8, "temperature": 0.5},
    }  # fmt: skip
    return Vote.model_validate(values | more)


@pytest.fixture
def study(store: Store) -> str:
    return add(store, run_specs(1))[0]


def test_what_is_kept_comes_back_as_it_was(store: Store, study: str) -> None:
    before = store.version()
    kept = [store.add_vote(study, vote(choice)) for choice in Choice]
    assert store.votes(study) == sorted(kept, key=lambda one: (one.created_at, one.id))
    assert len({one.id for one in kept}) == 4
    assert kept[0].model_copy(update={"id": ""}) == vote(Choice.A, created_at=kept[0].created_at)
    assert store.version() == before, "nothing that Explore shows has changed"


def test_a_vote_can_be_taken_back_once(store: Store, study: str) -> None:
    kept = store.add_vote(study, vote())
    assert store.delete_vote(kept.id)
    assert not store.delete_vote(kept.id)
    assert store.votes(study) == []


def test_votes_belong_to_one_study_and_go_with_it(store: Store, study: str) -> None:
    with pytest.raises(NotFoundError):
        store.add_vote("nosuchstudy", vote())
    other = add(store, run_specs(1, threads=3), name="other")[0]
    store.add_vote(study, vote())
    mine = store.add_vote(other, vote())
    store.delete_study(study)
    assert (store.votes(study), store.votes(other)) == ([], [mine])


@pytest.mark.parametrize("fmt", ["csv", "json", "parquet"])
def test_what_is_exported_can_be_read_back_as_the_same_votes(
    store: Store, study: str, tmp_path: Path, fmt: Format
) -> None:
    kept = [store.add_vote(study, vote(choice)) for choice in (Choice.TIE, Choice.BAD)]
    target = export_study(store, study, tmp_path / "out", fmt)
    if fmt == "json":
        rows = [json.loads(line) for line in (target / "votes.jsonl").read_text("utf-8").split("\n") if line]
    elif fmt == "csv":
        with (target / "votes.csv").open(newline="", encoding="utf-8") as file:
            rows = [{name: value.removeprefix("'") for name, value in row.items()} for row in csv.DictReader(file)]
    else:
        rows = pd.read_parquet(target / "votes.parquet").to_dict("records")
    assert [row.pop("study_id") for row in rows] == [study, study]
    for row in rows:
        row["asked"] = json.loads(row["asked"]) if isinstance(row["asked"], str) else row["asked"]
    assert sorted([Vote.model_validate(row) for row in rows], key=lambda one: one.id) == sorted(
        kept, key=lambda one: one.id
    )
    manifest = json.loads((target / "manifest.json").read_text())
    assert manifest["rows"][{"csv": "votes.csv", "json": "votes.jsonl", "parquet": "votes.parquet"}[fmt]] == 2


def test_a_study_without_votes_has_no_file_of_them(store: Store, study: str, tmp_path: Path) -> None:
    assert not (export_study(store, study, tmp_path / "out") / "votes.csv").exists()


def test_a_database_from_before_them_keeps_its_studies_and_takes_votes(tmp_path: Path) -> None:
    with open_store(url_of(tmp_path)) as store:
        study = add(store, run_specs(2))[0]
    database = Database(url_of(tmp_path))
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0002")
    database.close()
    raw = sqlite3.connect(tmp_path / "trilemma.db")
    assert raw.execute("SELECT name FROM sqlite_master WHERE name = 'votes'").fetchall() == []
    assert raw.execute("SELECT version_num FROM alembic_version").fetchall() == [("0002",)]
    raw.close()
    with open_store(url_of(tmp_path)) as store:
        assert len(store.runs(study)) == 2
        kept = store.add_vote(study, vote())
        assert store.votes(study) == [kept]
