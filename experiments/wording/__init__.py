"""The verdict in words. The same inputs give the same words, in one language now; another is a new file."""

from experiments.wording.paragraph import paragraph

__all__ = ["paragraph"]
