"""What the engines are called: known without loading any of them."""

ENGINES = ("duckdb", "postgresql", "spark")
