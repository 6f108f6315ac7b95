"""A digest of a definition: the same for the same meaning, whatever else stands in the catalog beside it."""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import date
from enum import Enum
from typing import Any

from experiments.errors import InvalidParameterError

TOLD_ONLY = frozenset({"label", "owner", "unit"})
"""Fields of a metric that are for people: another label measures nothing else."""


def digest_of(*definitions: object, without: Collection[str] = ()) -> str:
    """Return the sha256 of definitions.

    Only what differs from a default goes in: a release that adds a key with a default keeps old digests.

    Parameters
    ----------
    *definitions : dataclasses of this room
    without : collection of str
        Names of fields that are left out, of the definitions themselves.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    InvalidParameterError
        If a part has no such form.

    Examples
    --------
    >>> from experiments.definitions import MetricPlan
    >>> digest_of(MetricPlan(primary="buy")) == digest_of(MetricPlan(primary="buy", secondary=()))
    True
    """
    parts = [_members(one, without) for one in definitions]
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _members(value: Any, without: Collection[str] = ()) -> dict[str, object]:  # noqa: ANN401 - any dataclass
    kept = [f for f in fields(value) if f.init and f.name not in without and not _is_default(value, f)]
    return {"is": type(value).__name__, **{f.name: _plain(getattr(value, f.name)) for f in kept}}


def _is_default(value: object, one: "Field[Any]") -> bool:
    given = getattr(value, one.name)
    if one.default is not MISSING:
        return bool(given == one.default)
    return one.default_factory is not MISSING and bool(given == one.default_factory())


def _plain(value: object) -> object:
    if isinstance(value, Enum):
        return str(value.value)
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if is_dataclass(value):
        return _members(value)
    raise InvalidParameterError(f"a definition holds {type(value).__name__}, which has no digest")
