"""The databases that can compute the analysis; see docs/engines.md."""
