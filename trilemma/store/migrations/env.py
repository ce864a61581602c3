"""Run by alembic: upgrades on the connection, and inside the transaction, that the caller holds."""

from alembic import context

from trilemma.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
