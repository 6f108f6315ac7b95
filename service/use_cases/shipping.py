"""Ship one variant to everybody while its experiment is still in the catalog, and end that again."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from experiments.answers import forced_arms
from experiments.definitions import Catalog, Experiment
from experiments.lifecycle import Status
from experiments.plans import CLOSED, EVERYTHING
from service.storage.ports import Store
from service.use_cases import launch
from service.use_cases.steer import RefusedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipping:
    """What is served to everybody, whether that is new, and what is good to know beside it."""

    key: str
    variant: str
    changed: bool
    notes: tuple[str, ...] = ()


def ship(store: Store, key: str, variant: str, *, by: str, now: datetime) -> Shipping:
    """Give `variant` from now on to everybody whom the gates before the split let pass, in every worker.

    Nobody is enrolled any more in this phase, and later exposures are not counted.

    Raises
    ------
    UnknownKeyError
        If no live experiment has that key, or it has no such variant; the message suggests one.
    RefusedError
        If it serves nobody now, so that there is nothing to ship.
    """
    catalog, one = _standing(store, key)
    variants = forced_arms(one)
    if variant not in variants:
        hint = launch.suggest(variant, variants)
        raise launch.UnknownKeyError(f"{key} has no variant '{variant}': {hint}")
    _check_serving(one, now)
    changed = store.ship(key, one.phase, variant, by=by, now=now)
    return Shipping(
        key=key, variant=variant, changed=changed, notes=tuple(_notes(store, catalog, one, variant))
    )


def unship(store: Store, key: str, *, by: str, now: datetime) -> Shipping:
    """Split units again as the catalog says; `variant` is what was shipped until now, or nothing.

    Raises
    ------
    UnknownKeyError
        If no live experiment has that key.
    """
    _catalog, one = _standing(store, key)
    changed = store.ship(key, one.phase, "", by=by, now=now)
    return Shipping(key=key, variant=one.shipped, changed=changed)


def _standing(store: Store, key: str) -> tuple[Catalog, Experiment]:
    launch.check_key(store, key)
    loaded = launch.served_catalog(store)
    one = loaded.catalog.experiments.get(key) if loaded else None
    if loaded is None or one is None:
        what = "everything" if key == EVERYTHING else "a flag: change its 'value' or 'allocation' in its file"
        raise RefusedError(f"only an experiment has variants to ship, and '{key}' is {what}")
    return loaded.catalog, one


def _check_serving(one: Experiment, now: datetime) -> None:
    if one.status in CLOSED:
        again = f"`opportune start {one.key}` first"
        how = "a stopped one stays stopped" if one.status is Status.STOPPED else again
        raise RefusedError(f"{one.key} is {one.status.value}, so everybody gets the control's value: {how}")
    start_at, end_at = one.schedule.start_at, one.schedule.end_at
    if start_at is not None and now < start_at:
        raise RefusedError(f"{one.key} begins only at {start_at.isoformat()}: nobody has seen it yet")
    if end_at is not None and now >= end_at:
        raise RefusedError(f"{one.key} ended at {end_at.isoformat()}: take 'end' out of its schedule first")


def _notes(store: Store, catalog: Catalog, one: Experiment, variant: str) -> Iterator[str]:
    killed = store.live_state().killed
    held = next((name for name in (one.key, EVERYTHING) if name in killed), "")
    if held:
        yield f"it is killed, which is stronger: nobody gets {variant} before `opportune revive '{held}'`"
    if one.schedule.end_at is not None:
        yield (
            f"its schedule ends at {one.schedule.end_at.isoformat()}, and the shipment with it: "
            "take 'end' out, or make it permanent before"
        )
    if one.holdout is not None:
        yield f"who is in the holdout {one.holdout.key} stays on the control's value, to measure the family"
    if one.layer is not None:
        name = one.layer.layer.key
        beside = [
            other.key
            for other in catalog.experiments.values()
            if other.key != one.key
            and other.layer is not None
            and other.layer.layer.key == name
            and other.status in (Status.SCHEDULED, Status.RUNNING)
        ]
        if beside:
            yield f"it also goes to the units of its layer {name} that are in {', '.join(sorted(beside))}"
