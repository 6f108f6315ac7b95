"""Who sees what, and what did it do: pure functions, no I/O, no clock."""
