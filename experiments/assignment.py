"""Who sees what: a catalog is compiled once, then every question is a walk through ready-made answers."""

from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from experiments.allocation import ANONYMOUS_ID, TARGETING_KEY, Definition, unit_id_of, variant_of
from experiments.answers import Assignment, MissingUnitError, Reason, forced_arms
from experiments.definitions import Catalog
from experiments.errors import UnknownFlagError
from experiments.lifecycle import Status
from experiments.membership import NOBODY, Membership
from experiments.plans import Gate, Memo, Plan, Planner, Split, boundaries
from experiments.targeting import Attributes, Predicate, behaviours, reads_request
from experiments.units import unit_raw_of

__all__ = [
    "Assignment",
    "CompiledCatalog",
    "MissingUnitError",
    "Reason",
    "compile_catalog",
    "unit_id_of",
    "variant_of",
]

Quick: TypeAlias = "tuple[int, Predicate | None, Assignment, Split]"
"""Place among the keys, audience, the answer to strangers, the split: all there is to most experiments."""

Full: TypeAlias = "tuple[int, Plan, Gate]"
"""Place among the keys, plan, how it is asked."""


@dataclass(frozen=True, slots=True)
class _ByUnit:
    """The plans that split by one unit, and the places of their answers among the keys."""

    unit: str
    quick: tuple[Quick, ...]
    others: tuple[Full, ...]


@dataclass(frozen=True, slots=True)
class CompiledCatalog:
    """A catalog ready to serve; immutable, so that workers swap one reference.

    Attributes
    ----------
    keys : tuple of str
        Every key that can be asked for, sorted; drafts are not among them.
    reads_request : bool
        Whether an audience asks for attributes of the request, such as ``request.device``.
    reads_history : bool
        Whether an audience asks what people did.
    """

    keys: tuple[str, ...]
    reads_request: bool
    reads_history: bool
    _plans: Mapping[str, Plan]
    _by_unit: tuple[_ByUnit, ...]
    _forced: Mapping[str, Mapping[str, Assignment]]
    _changes: tuple[datetime, ...]

    def assign(self, key: str, context: Attributes, *, now: datetime) -> Assignment:
        """Answer one question; the same question has the same answer in every process.

        It records nothing: an exposure is a separate fact.

        Parameters
        ----------
        key : str
            Of a flag or an experiment.
        context : mapping of str to object
            Attributes of the unit, its ids among them.
        now : datetime
            Aware; schedules and ramps look at it.

        Returns
        -------
        Assignment
            Ready-made; calls share it.

        Raises
        ------
        UnknownFlagError
            If nothing has that key.
        MissingUnitError
            If the flag must split and the context holds no usable anonymous_id or targetingKey.
        """
        plan = self._plans.get(key)
        if plan is None:
            raise UnknownFlagError(f"no flag or experiment has the key {key!r}")
        answer = plan.answer(context, now, unit_raw_of(plan.unit, context), {})
        if answer is plan.no_unit and plan.demands_unit:
            raise MissingUnitError(f"{key!r} splits by {ANONYMOUS_ID}: send it, or a {TARGETING_KEY}")
        return answer

    def assign_all(self, context: Attributes, *, now: datetime) -> list[Assignment | None]:
        """Answer every question; what they have in common is found out once.

        Parameters
        ----------
        context : mapping of str to object
            Attributes of the unit, its ids among them.
        now : datetime
            Aware; schedules and ramps look at it.

        Returns
        -------
        list of Assignment or None
            In the order of `keys`; None where `assign` raises MissingUnitError.
        """
        memo: Memo = {}
        found: list[Assignment | None] = [None] * len(self.keys)
        for group in self._by_unit:
            raw = unit_raw_of(group.unit, context)
            others = group.others
            if raw is None:
                others = tuple(self._full(place) for place, *_ in group.quick) + others
            else:
                for place, eligible, stranger, split in group.quick:
                    # `Plan.answer` written out: a call more for each would cost a tenth.
                    found[place] = split(raw) if eligible is None or eligible(context) else stranger
            for place, plan, answer_of in others:
                answer = answer_of(context, now, raw, memo)
                found[place] = None if answer is plan.no_unit and plan.demands_unit else answer
        return found

    def _full(self, place: int) -> Full:
        plan = self._plans[self.keys[place]]
        return place, plan, plan.answer

    def preview(self, key: str, variant_key: str) -> Assignment | None:
        """Return the answer to somebody who may look at one variant, also of a draft; never enrolled.

        Parameters
        ----------
        key : str
            Of a flag or an experiment.
        variant_key : str
            One of its variants; a flag has ``on`` and ``off``.

        Returns
        -------
        Assignment or None
            None if there is no such variant, or the kill switch holds it.
        """
        return self._forced.get(key, {}).get(variant_key)

    def next_change(self, now: datetime) -> datetime | None:
        """Return when a schedule or a ramp next changes an answer.

        Parameters
        ----------
        now : datetime
            Aware.

        Returns
        -------
        datetime or None
            Later than `now`; None if nothing changes by itself any more.
        """
        place = self.changes_until(now)
        return self._changes[place] if place < len(self._changes) else None

    def changes_until(self, now: datetime) -> int:
        """Return how many times schedules and ramps have changed an answer up to a moment.

        Parameters
        ----------
        now : datetime
            Aware.

        Returns
        -------
        int
            The same between two changes, and in every process; one more after each.
        """
        return bisect_right(self._changes, now)


def compile_catalog(
    catalog: Catalog, *, killed: frozenset[str] = frozenset(), membership: Membership = NOBODY
) -> CompiledCatalog:
    """Prepare a catalog for serving.

    Parameters
    ----------
    catalog : Catalog
        One revision.
    killed : frozenset of str
        Keys that serve their default value whatever the catalog says; ``*`` is all of them.
    membership : Membership
        Who did what, and who was exposed to what; whom it does not know has done nothing.

    Returns
    -------
    CompiledCatalog
        Drafts are not in it, but in its previews: asking for one is asking for nothing.

    Raises
    ------
    InvalidDefinitionError
        If a condition names an unknown audience or list, audiences or prerequisites need each other, or a
        prerequisite does not exist.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from experiments.definitions import Flag
    >>> served = compile_catalog(Catalog(flags={"dark": Flag(key="dark")}))
    >>> served.assign("dark", {}, now=datetime(2027, 1, 1, tzinfo=UTC)).reason.value
    'STATIC'
    """
    planner = Planner(catalog, killed, membership)
    definitions: dict[str, Definition] = {**catalog.flags, **catalog.experiments}
    live = {key: one for key, one in sorted(definitions.items()) if one.status is not Status.DRAFT}
    plans = {key: planner.plan(one) for key, one in live.items()}
    drafts = [one for key, one in definitions.items() if key not in live and not planner.is_killed(key)]
    awake = [one for key, one in live.items() if not planner.is_killed(key)]
    audiences = [one.audience for one in awake if one.audience is not None]
    return CompiledCatalog(
        keys=tuple(plans),
        reads_request=any(reads_request(audience, catalog.audiences) for audience in audiences),
        reads_history=any(behaviours(audience, catalog.audiences) for audience in audiences),
        _plans=plans,
        _by_unit=tuple(_by_unit(plans, planner.needed)),
        _forced={**planner.forced, **{one.key: forced_arms(one) for one in drafts}},
        _changes=tuple(sorted({at for one in awake for at in boundaries(one)})),
    )


def _by_unit(plans: Mapping[str, Plan], needed: Collection[Plan]) -> Iterator[_ByUnit]:
    for unit in dict.fromkeys(plan.unit for plan in plans.values()):
        quick: list[Quick] = []
        others: list[Full] = []
        for place, plan in enumerate(plans.values()):
            if plan.unit != unit:
                continue
            if plan in needed:
                others.append((place, plan, plan.answer_once))
            elif plan.split is not None and plan.before is None:
                quick.append((place, plan.eligible, plan.stranger, plan.split))
            else:
                others.append((place, plan, plan.answer))
        yield _ByUnit(unit, tuple(quick), tuple(others))
