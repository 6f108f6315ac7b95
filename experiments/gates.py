"""What decides about a unit beside targeting: holdouts, layers, prerequisites, overrides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from experiments.errors import InvalidDefinitionError
from experiments.lifecycle import TOTAL_BP
from experiments.targeting import Condition

ANONYMOUS_UNIT = "anonymous_id"
SERVED_VALUE = "value"
"""The attribute on which the condition of a prerequisite is asked: the value that its flag serves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Definitions that exclude one another: each has its own buckets of the layer.

    Attributes
    ----------
    unit : str
        What all of its members randomize.
    seed : str
        Salt taken over from another system; empty for our own, ``layer:<key>``.
    hash_version : int
        2; or 1 for the namespaces of GrowthBook, so that what still runs there excludes what runs here.
    """

    key: str
    unit: str = ANONYMOUS_UNIT
    seed: str = ""
    hash_version: int = 2
    description: str = ""

    def __post_init__(self) -> None:
        if self.hash_version not in (1, 2):
            raise InvalidDefinitionError("the hash version is 1 or 2", path=("hash_version",), code="E308")

    @property
    def salt(self) -> str:
        """What is hashed with the unit id."""
        return self.seed or f"layer:{self.key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSlot:
    """The buckets of a layer that one definition owns: [start_bp, start_bp + share_bp).

    `layer` holds a name only until the loader puts the declared layer in its place.
    """

    layer: Layer
    start_bp: int = 0
    share_bp: int = TOTAL_BP

    def __post_init__(self) -> None:
        if not 0 <= self.start_bp < self.end_bp <= TOTAL_BP:
            raise InvalidDefinitionError(
                f"a place in a layer lies between 0% and 100%, not from {self.start_bp / 100:g}% "
                f"to {self.end_bp / 100:g}%",
                path=("layer",),
                code="E324",
                hint=f"{(TOTAL_BP - self.start_bp) / 100:g}% is what is left from there",
            )

    @property
    def end_bp(self) -> int:
        """The first bucket beyond."""
        return self.start_bp + self.share_bp

    def overlaps(self, other: "LayerSlot") -> bool:
        """Return whether both own a bucket of the same layer."""
        same = self.layer.key == other.layer.key
        return same and self.start_bp < other.end_bp and other.start_bp < self.end_bp


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdout:
    """Units kept out of a whole family of definitions, to measure the family: buckets [0, share_bp).

    A definition's holdout is a name with no share only until the loader puts the declared one in its place.
    """

    key: str
    share_bp: int = 0
    unit: str = ANONYMOUS_UNIT
    seed: str = ""
    owner: str = ""
    description: str = ""

    @property
    def salt(self) -> str:
        """What is hashed with the unit id."""
        return self.seed or f"holdout:{self.key}"


@dataclass(frozen=True, slots=True)
class Prerequisite:
    """Another flag or experiment must serve a value that fits: `condition` asks its attribute ``value``."""

    key: str
    condition: Condition


def check_overrides(overrides: Mapping[str, tuple[str, ...]], variants: Sequence[str]) -> None:
    """Refuse overrides for what is no variant, and of one unit for two variants."""
    unknown = [key for key in overrides if key not in variants]
    if unknown:
        raise InvalidDefinitionError(
            f"override for {unknown[0]!r}, which is no variant", path=("overrides", unknown[0]), code="E314"
        )
    first: dict[str, str] = {}
    for variant, units in overrides.items():
        for i, unit in enumerate(units):
            if first.setdefault(unit, variant) != variant:
                raise InvalidDefinitionError(
                    f"override of {unit!r} for {first[unit]!r} and for {variant!r}",
                    path=("overrides", variant, i),
                    code="E314",
                    hint="a unit gets one variant: remove it from one of the two",
                )
