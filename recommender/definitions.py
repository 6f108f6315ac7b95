"""What a catalog defines about recommendations: frozen values whose invariants hold from construction."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from recommender.errors import InvalidRecommenderError

MAX_WEIGHT = 100.0
MAX_SLOTS = 100


class RankBy(StrEnum):
    """What orders the items."""

    MODEL = "model"
    POPULARITY = "popularity"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommender:
    """How a slate is made.

    Attributes
    ----------
    hide : frozenset of event types
        Items that the person had such an event with are never shown (``{"Order Completed"}`` for discovery).
    only : frozenset of event types
        When not empty, only items that the person had such an event with are shown (buy again).
    weights : mapping of event type to weight
        What counts as an interaction, and how much, in training and in live fold-in.
    """

    key: str
    rank_by: RankBy = RankBy.MODEL
    hide: frozenset[str] = frozenset()
    only: frozenset[str] = frozenset()
    weights: Mapping[str, float] = field(default_factory=lambda: {"Order Completed": 1.0})

    def __post_init__(self) -> None:
        if any(not 0 < w <= MAX_WEIGHT for w in self.weights.values()):
            raise InvalidRecommenderError(f"recommender {self.key!r}: weights must lie in (0, 100]")
        if self.hide & self.only:
            raise InvalidRecommenderError(f"recommender {self.key!r}: an event is both in hide and in only")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a slate appears: which recommender fills how many slots."""

    key: str
    recommender: str
    slots: int = 6
    channel: str = "web"

    def __post_init__(self) -> None:
        if not 1 <= self.slots <= MAX_SLOTS:
            raise InvalidRecommenderError(
                f"placement {self.key!r}: slots must lie in 1..100, not {self.slots}"
            )
