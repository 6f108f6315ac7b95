"""Fields that hold others: lists, mappings, sub-schemas, conditions, variants. Every bad part is told."""

from collections.abc import Iterable, Mapping
from typing import Any

from marshmallow import Schema, ValidationError, fields
from marshmallow.exceptions import SCHEMA

from experiments.definitions import JsonValue, Variant
from experiments.errors import InvalidDefinitionError
from experiments.lifecycle import TOTAL_BP
from experiments.targeting import Condition, parse_condition
from service.catalog.fields import (
    BasisPoints,
    Json,
    Said,
    StrictSchema,
    checked_name,
    nested,
    refuse,
    show,
)

MAX_CONDITION_ERRORS = 50
AT_KEY = frozenset({"E202", "E203"})
CONTROL = "control"


class ListOf(fields.Field[list[Any]]):
    """A list of `inner`; every bad item is told."""

    def __init__(self, inner: fields.Field[Any], *, longest: int = 1_000, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(**kwargs)
        self.inner = inner
        self.longest = longest

    def _deserialize(self, value: Any, *_: object, **__: object) -> list[Any]:  # noqa: ANN401 - anything may come
        if not isinstance(value, list):
            raise refuse("E301", f"expected a list, not {show(value)}", "for example [one, two]")
        if len(value) > self.longest:
            raise refuse("E308", f"at most {self.longest:,} entries, not {len(value):,}")
        return [item for _i, item in _each(enumerate(value), self.inner)]


class MappingOf(fields.Field[dict[str, Any]]):
    """A mapping from names to `inner`; every bad entry is told."""

    def __init__(self, inner: fields.Field[Any], *, names: bool = True, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(**kwargs)
        self.inner = inner
        self.names = names

    def _deserialize(self, value: Any, *_: object, **__: object) -> dict[str, Any]:  # noqa: ANN401 - anything may come
        if not isinstance(value, dict):
            hint = "for example {my-key: ...}"
            raise refuse("E301", f"expected 'key: value' pairs, not {show(value)}", hint)
        return dict(_each(value.items(), self.inner, names=self.names))


class Sub(fields.Field[Any]):
    """A mapping with its own schema."""

    def __init__(self, schema: type[Schema], **kwargs: Any) -> None:  # noqa: ANN401 - marshmallow's own
        super().__init__(**kwargs)
        self.schema = schema()

    def _deserialize(self, value: Any, *_: object, **__: object) -> Any:  # noqa: ANN401 - what the schema makes
        if not isinstance(value, dict):
            known = ", ".join(self.schema.fields)
            hint = f"for example {{{next(iter(self.schema.fields))}: ...}}"
            raise refuse("E301", f"expected a mapping with some of {known}, not {show(value)}", hint)
        return self.schema.load(value)


class ConditionField(fields.Field[Condition]):
    """A condition on attributes; errors in several parts of it are all told."""

    def _deserialize(self, value: Any, *_: object, **__: object) -> Condition:  # noqa: ANN401 - anything may come
        errors: dict[Any, Any] = {}
        rest: JsonValue = value
        for _attempt in range(MAX_CONDITION_ERRORS):
            try:
                condition = parse_condition(rest)
            except InvalidDefinitionError as error:
                graft(
                    errors, error.path, Said(error.code, str(error), error.hint, at_key=error.code in AT_KEY)
                )
                mended = _without(rest, error.path)
                if mended is None:
                    break
                rest = mended
            else:
                if not errors:
                    return condition
                break
        raise nested(errors)


def _each(
    pairs: Iterable[tuple[Any, Any]], inner: fields.Field[Any], *, names: bool = False
) -> Iterable[tuple[Any, Any]]:
    done: list[tuple[Any, Any]] = []
    errors: dict[Any, Any] = {}
    for key, item in pairs:
        try:
            done.append((checked_name(key) if names else key, inner.deserialize(item)))
        except ValidationError as error:
            errors[key] = error.messages
    if errors:
        raise nested(errors)
    return done


def graft(errors: dict[Any, Any], path: tuple[str | int, ...], said: Said) -> None:
    """Add what was said about `path` to a tree of errors."""
    for step in path:
        errors = errors.setdefault(step, {})
    errors.setdefault(SCHEMA, []).append(said)


def _without(value: JsonValue, path: tuple[str | int, ...]) -> JsonValue:
    """Return the condition with the list item that holds the error made harmless; None when there is none."""
    depth = max((i for i, step in enumerate(path) if isinstance(step, int)), default=None)
    if depth is None:
        return None
    return _replaced(value, path[: depth + 1])


def _replaced(value: JsonValue, path: tuple[str | int, ...]) -> JsonValue:
    if not path:
        return {"anonymous_id": {"exists": True}}
    step = path[0]
    if isinstance(value, list) and isinstance(step, int) and step < len(value):
        return [_replaced(item, path[1:]) if i == step else item for i, item in enumerate(value)]
    if isinstance(value, dict) and isinstance(step, str) and step in value:
        return {key: _replaced(item, path[1:]) if key == step else item for key, item in value.items()}
    return None


class VariantSchema(StrictSchema):
    """Long form of one variant."""

    later = ("payload", "name", "description")
    weight = BasisPoints()
    value = Json(allow_none=True, load_default=None)


VARIANT = VariantSchema()


class Variants(fields.Field[tuple[Variant, ...]]):
    """Short form ``{control: "", banner: "..."}`` or long form ``{control: {weight: 50, value: ""}}``."""

    def _deserialize(self, value: Any, *_: object, **__: object) -> tuple[Variant, ...]:  # noqa: ANN401
        if not isinstance(value, dict):
            hint = 'for example {control: "", banner: "Free shipping"}'
            raise refuse("E301", f"expected a value for each variant, not {show(value)}", hint)
        parts, errors = self._parts(value)
        if errors:
            raise nested(errors)
        if CONTROL in parts and next(iter(parts)) != CONTROL:
            hint = "move it up: the first variant is what the others are compared with"
            raise nested({CONTROL: [Said("E316", "'control' must be the first variant", hint, at_key=True)]})
        return self._weighted(parts)

    @staticmethod
    def _parts(value: Mapping[str, Any]) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
        parts: dict[str, dict[str, Any]] = {}
        errors: dict[str, Any] = {}
        for key, given in value.items():
            try:
                checked_name(key)
                long_form = isinstance(given, dict) and ("weight" in given or "value" in given)
                parts[key] = VARIANT.load(given) if long_form else {"value": given}
            except ValidationError as error:
                messages: Any = error.messages
                at_key = isinstance(messages, list)
                errors[key] = (
                    [Said(m.code, m.message, m.hint, at_key=True) for m in messages] if at_key else messages
                )
        return parts, errors

    @staticmethod
    def _weighted(parts: Mapping[str, Mapping[str, Any]]) -> tuple[Variant, ...]:
        with_weight = [key for key, part in parts.items() if "weight" in part]
        if with_weight and len(with_weight) < len(parts):
            missing = ", ".join(key for key in parts if key not in with_weight)
            hint = "give every variant a weight, or none for equal shares"
            raise refuse("E315", f"{missing} has no weight", hint, at_key=True)
        equal, left_over = divmod(TOTAL_BP, max(len(parts), 1))
        return tuple(
            Variant(key=key, value=part["value"], weight_bp=part.get("weight", equal + (i < left_over)))
            for i, (key, part) in enumerate(parts.items())
        )
