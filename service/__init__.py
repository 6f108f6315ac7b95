"""Everything that speaks, remembers or waits: HTTP, CLI, storage, lake, worker, dashboard."""
