"""Alembic calls this file; the connection, inside its transaction, comes from service/storage/migrate.py."""

from alembic import context

from service.storage.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
