"""Anytime-valid inference for many comparisons with control at once, from arrays of moments."""
