"""What a plan says about money: by which metric it is counted, and what each variant costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from experiments.errors import InvalidDefinitionError


@dataclass(frozen=True, slots=True, kw_only=True)
class MoneyPlan:
    """The metric that holds the money, and the cost of each exposed unit by variant, in its currency.

    A variant that is not named costs nothing.
    """

    metric: str
    costs: Mapping[str, float] = field(default_factory=dict)

    def check(self, variants: Sequence[str]) -> None:
        """Refuse costs of what is no variant.

        Raises
        ------
        InvalidDefinitionError
            E380.
        """
        unknown = next((key for key in self.costs if key not in variants), None)
        if unknown is not None:
            raise InvalidDefinitionError(
                f"a cost for {unknown!r}, which is no variant",
                path=("money", "costs", unknown),
                code="E380",
                hint=f"the variants are {', '.join(variants)}",
            )

    def extra_cost(self, variant: str, control: str) -> float:
        """Return what a unit of `variant` costs more than one of control."""
        return self.costs.get(variant, 0.0) - self.costs.get(control, 0.0)
