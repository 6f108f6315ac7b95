"""Operational truth: ports, records and their SQLAlchemy adapter."""
