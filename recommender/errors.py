"""Errors of the recommender room."""


class RecommenderError(Exception):
    """Base of every error raised by `recommender`."""


class InvalidRecommenderError(RecommenderError):
    """A definition contradicts itself."""


class InvalidInteractionsError(RecommenderError):
    """A table of interactions lacks a column or holds values outside their domain."""


class InvalidArtifactError(RecommenderError):
    """Arrays and manifest of a model do not fit together."""
