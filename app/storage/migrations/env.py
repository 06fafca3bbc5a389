"""Run by Alembic inside ``migrate``, on the connection it was given."""

from alembic import context

from app.storage.models import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True, transactional_ddl=True
)
with context.begin_transaction():
    context.run_migrations()
