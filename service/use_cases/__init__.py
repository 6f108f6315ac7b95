"""One module a verb: load, decide (pure), save."""
