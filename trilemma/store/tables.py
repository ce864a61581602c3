"""The tables, in SQLAlchemy's portable types; ``migrations/`` creates them, and a test holds the two together."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

from trilemma.store.column_types import AnyJson, AnyText, Real, UtcDateTime, short_name

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _created_by() -> Column[str]:
    """Whoever asked for it, as :class:`trilemma.access.identity.User` names them; None where nobody was asked."""
    return Column("created_by", String(255))


def _run_id(**options: Any) -> Column[str]:
    return Column("run_id", String(32), ForeignKey("runs.id", ondelete="CASCADE"), nullable=False, **options)


# Counters and switches: ``changes`` (see Store.version) and ``paused``.
meta = Table(
    "meta", metadata, Column("name", String(32), primary_key=True), Column("value", BigInteger, nullable=False)
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("model", short_name(255), nullable=False),
    Column("quantization", short_name(64), nullable=False),
    Column("path", AnyText, nullable=False),
    Column("added_at", UtcDateTime, nullable=False),
    Column("forgotten", Boolean, nullable=False),
    Column("document", AnyJson, nullable=False),
    _created_by(),
)

studies = Table(
    "studies",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("spec", AnyJson, nullable=False),
    Column("rerun_disturbed", Boolean, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    _created_by(),
)

hosts = Table(
    "hosts", metadata, Column("id", String(64), primary_key=True), Column("document", AnyJson, nullable=False)
)

runs = Table(
    "runs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("number", BigInteger, nullable=False, unique=True),  # order of creation
    Column("position", BigInteger, nullable=False),  # order in the queue
    Column("fingerprint", String(64), nullable=False, index=True),
    Column("configuration_id", String(32), nullable=False),
    Column("artifact_id", String(64), nullable=False, index=True),
    Column("engine", short_name(64), nullable=False),
    Column("settings", Text, nullable=False),
    Column("adapter_id", String(64)),
    Column("profile", short_name(64)),  # the name of the emulated device
    Column("repeat", Integer, nullable=False),
    Column("device", short_name(64), nullable=False),
    Column("spec", AnyJson, nullable=False),
    Column("state", String(16), nullable=False),
    Column("phase", String(16)),
    Column("progress", Float, nullable=False),
    Column("note", AnyText, nullable=False),
    Column("remaining_s", Float),
    Column("attempt", Integer, nullable=False),
    Column("interruptions", Integer, nullable=False),
    Column("cancel_requested", Boolean, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("reason", AnyText, nullable=False),
    Column("log_tail", AnyText, nullable=False),
    Column("disturbed", Boolean, nullable=False),
    Column("disturbances", AnyJson, nullable=False),
    Column("rerun_of", String(32), ForeignKey("runs.id", ondelete="SET NULL"), index=True),
    Column("host_id", String(64), ForeignKey("hosts.id")),
    Column("engine_info", AnyJson, nullable=False),
    Column("worker_id", short_name(128)),
    Column("worker_pid", Integer),
    Column("worker_created", Float),
    Column("process_pid", Integer),
    Column("process_created", Float),
    Column("needs", Text, nullable=False, server_default=text("''")),  # as JSON without defaults; empty for nothing
    Column("machine", short_name(64), nullable=False, server_default=text("''")),  # of a cluster, by name
    Column("engine_version", Text, nullable=False, server_default=text("''")),  # as measured, else as planned
    _created_by(),
    Index(None, "created_by", "state"),
    Index(None, "state", "device", "position"),
    Index(None, "position", "number"),
    Index(None, "engine", "engine_version"),
)

study_runs = Table(
    "study_runs",
    metadata,
    Column("study_id", String(32), ForeignKey("studies.id", ondelete="CASCADE"), primary_key=True),
    _run_id(primary_key=True, index=True),
)

phases = Table(
    "phases",
    metadata,
    _run_id(primary_key=True),
    Column("phase", String(16), primary_key=True),
    Column("subject", short_name(128), primary_key=True),
    Column("start_ns", BigInteger, nullable=False),
    Column("end_ns", BigInteger),
)

# One row a call of Store.add_samples; the format of ``data`` is described in trilemma/store/codec.py.
sample_chunks = Table(
    "sample_chunks",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    _run_id(index=True),
    Column("first_ns", BigInteger, nullable=False),
    Column("last_ns", BigInteger, nullable=False),
    Column("count", Integer, nullable=False),
    Column("codec", String(16), nullable=False),
    Column("data", LargeBinary, nullable=False),
)

requests = Table(
    "requests",
    metadata,
    _run_id(primary_key=True),
    Column("workload", short_name(128), primary_key=True),
    Column("warmup", Boolean, primary_key=True),
    Column("index", Integer, primary_key=True, autoincrement=False),
    Column("submitted_ns", BigInteger, nullable=False),
    Column("token_deltas", JSON, nullable=False),
    Column("prompt_tokens", Integer, nullable=False),
    Column("prefilled_tokens", Integer, nullable=False),
    Column("output_tokens", Integer, nullable=False),
    Column("engine_prefill_s", Float),
    Column("engine_decode_s", Float),
    Column("prompt", AnyText, nullable=False),
    Column("text", AnyText, nullable=False),
    Column("error", AnyText, nullable=False),
    Column("token_timing", String(8), nullable=False, server_default="token"),
)

answers = Table(
    "answers",
    metadata,
    _run_id(primary_key=True),
    Column("suite", short_name(128), primary_key=True),
    Column("index", Integer, primary_key=True, autoincrement=False),
    Column("item_id", AnyText, nullable=False),
    Column("prompt", AnyText, nullable=False),
    Column("answer", AnyText, nullable=False),
    Column("expected", AnyText, nullable=False),
    Column("scores", JSON, nullable=False),
    Column("detail", AnyJson, nullable=False),
)

# Clustered by key: Explore reads a few keys of every run, and finds them side by side.
measurements = Table(
    "measurements",
    metadata,
    Column("key", short_name(255), primary_key=True),
    _run_id(primary_key=True, index=True),
    Column("order", Integer, nullable=False),
    Column("value", Real),
    Column("low", Real),
    Column("high", Real),
    Column("n", Integer, nullable=False),
    Column("method", String(16), nullable=False),
    Column("source", short_name(255), nullable=False),
    Column("valid", Boolean, nullable=False),
    Column("provenance", AnyJson, nullable=False),
    Column("definition_version", Integer, nullable=False),
    sqlite_with_rowid=False,
)

# What people preferred. The answers are kept with the vote: their runs may be deleted, and live ones have none.
votes = Table(
    "votes",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("study_id", String(32), ForeignKey("studies.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("source", short_name(128), nullable=False),
    Column("item_id", AnyText, nullable=False),
    Column("prompt", AnyText, nullable=False),
    Column("a_id", String(32), nullable=False),
    Column("b_id", String(32), nullable=False),
    Column("a_answer", AnyText, nullable=False),
    Column("b_answer", AnyText, nullable=False),
    Column("choice", String(8), nullable=False),
    Column("voter", AnyText, nullable=False),
    Column("asked", AnyJson, nullable=False),
    _created_by(),
)

# Time that people's runs had the device in attempts that ``runs`` does not tell of any more: a run was tried again or
# deleted. Limits count it, so that neither gives anybody more time.
device_time = Table(
    "device_time",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("who", String(255), nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime, nullable=False),
    Index(None, "who", "finished_at"),
)

# The machines of a cluster, as the worker of a device of the queue last saw them.
machines = Table(
    "machines",
    metadata,
    Column("device", short_name(64), primary_key=True),
    Column("name", short_name(64), primary_key=True),
    Column("seen_at", UtcDateTime, nullable=False),
    Column("alive", Boolean, nullable=False),
    Column("document", AnyJson, nullable=False),
)

# What was done, tried and refused; the format is trilemma.records.AuditRecord. Rows are only ever added.
audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("at", UtcDateTime, nullable=False),
    Column("who", String(255), nullable=False),
    Column("role", String(16), nullable=False),
    Column("action", String(32), nullable=False),
    Column("subject", AnyText, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("detail", AnyText, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),  # what it added to the disk beside weights
    Index(None, "who", "action"),
)

RECORDS = (phases, sample_chunks, requests, answers, measurements)
"""What an attempt at a run leaves; deleted before the run starts over."""
