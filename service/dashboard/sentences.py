"""Sentences for pages."""


def pieces(text: str) -> list[tuple[bool, str]]:
    """Return a sentence in pieces, each with whether it is code: names stand in back-quotes."""
    return [(bool(i % 2), part) for i, part in enumerate(text.split("`")) if part]
