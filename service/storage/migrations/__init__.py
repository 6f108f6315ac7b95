"""Alembic's script folder; service/storage/migrate.py drives it."""
