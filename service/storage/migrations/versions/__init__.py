"""One file a revision of the schema, never edited after a release."""
