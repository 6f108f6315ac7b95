"""What a catalog lets rules do to an experiment without asking anybody."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Automatic:
    """Whether a rollback or a shipment that the rules decide on is also done; without it, it is only told."""

    rollback: bool = False
    ship: bool = False

    @property
    def word(self) -> str:
        """Return the short form of the catalog.

        Examples
        --------
        >>> Automatic(rollback=True).word
        'rollback'
        """
        named = [name for name, is_on in (("rollback", self.rollback), ("ship", self.ship)) if is_on]
        return "_and_".join(named) or "none"
