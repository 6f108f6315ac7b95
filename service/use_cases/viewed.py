"""What tools of others say when a variant was seen, in the words of our exposure."""

from collections.abc import Callable, Mapping
from typing import Any

from experiments.allocation import ANONYMOUS_ID
from experiments.definitions import Experiment
from experiments.units import USER_ID

MAX_PLACE_DIGITS = 3


def exposure_of(
    said: Mapping[str, Any], ids: Mapping[str, Any], find: Callable[[str], Experiment | None]
) -> dict[str, Any]:
    """Return the properties of `Experiment Viewed` for what GrowthBook or Segment said.

    The variant may be named by its key or its place. Who does not name the unit means the event's own id of
    the experiment's unit; who does not name the phase means that of the experiment which `find` gives by its
    key: the one that was live when the variant was seen. Nothing is checked here.
    """
    experiment_key = first_of(said, "experiment_key", "experimentId", "experiment_id")
    experiment = find(experiment_key) if isinstance(experiment_key, str) else None
    unit = first_of(said, "unit_type", "hashAttribute", "hash_attribute") or _unit(experiment, ids)
    unit_id = first_of(said, "unit_id", "hashValue", "hash_value")
    if unit_id is None and isinstance(unit, str):
        unit_id = ids.get(unit) or said.get(unit)
    return {
        "experiment_key": experiment_key,
        "variant_key": _variant_key(said, experiment),
        "unit_type": unit,
        "unit_id": digits_as_text(unit_id),
        "phase": said.get("phase", experiment.phase if experiment else 1),
    }


def first_of(said: Mapping[str, Any], *names: str) -> Any:  # noqa: ANN401 - JSON
    """Return the first of some members that has a value."""
    return next((said[name] for name in names if said.get(name) is not None), None)


def digits_as_text(value: object) -> object:
    """Return a whole number as the text that was hashed or shown; anything else as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return str(int(value)) if isinstance(value, int) or value.is_integer() else value


def _unit(experiment: Experiment | None, ids: Mapping[str, Any]) -> str:
    if experiment is not None:
        return experiment.unit
    return ANONYMOUS_ID if ids.get(ANONYMOUS_ID) else USER_ID


def _variant_key(said: Mapping[str, Any], experiment: Experiment | None) -> object:
    """Return the key of the variant; a tool that knows no keys sends its place, counted from 0."""
    named = first_of(said, "variant_key", "variation_key", "variationId", "variation_id")
    keys = [variant.key for variant in experiment.variants] if experiment else []
    text = digits_as_text(named)
    is_place = isinstance(text, str) and text.isascii() and text.isdigit() and len(text) <= MAX_PLACE_DIGITS
    if not is_place or text in keys:
        return text
    place = int(str(text))
    return keys[place] if place < len(keys) else text
