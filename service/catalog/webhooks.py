"""Whom an experiment tells what was decided: the webhooks of a catalog, without addresses and secrets."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from marshmallow import fields, post_load

from experiments.definitions import Experiment
from service.catalog.compound import ListOf
from service.catalog.fields import Name, OneOf, StrictSchema, Word, YesOrNo, refuse, show

VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,99}", re.ASCII)
OWN = "OPPORTUNE_"
WEBHOOKS = "webhooks"
"""The key of the collection."""


class EventKind(StrEnum):
    """What a webhook can be told of."""

    DECISION = "decision"
    RAMP = "ramp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """An endpoint outside: the names of the environment variables that hold its URL and its secret.

    With `default` it is told of every experiment that names no webhooks of its own.
    """

    key: str
    url_env: str
    secret_env: str
    events: frozenset[EventKind] = frozenset(EventKind)
    default: bool = False


class Variable(Word):
    """The name of an environment variable; its value never comes into a catalog."""

    def _deserialize(self, value: Any, *args: object, **kwargs: object) -> str:  # noqa: ANN401 - as Word
        text = super()._deserialize(value, *args, **kwargs)
        if not VARIABLE.fullmatch(text):
            hint = "put the value into the environment and its name here, for example GROWTH_HOOK_URL"
            raise refuse("E375", "expected the name of an environment variable", hint)
        if text.startswith(OWN):
            raise refuse(
                "E375", f"{show(text)} is a setting of Opportune itself", "give it a variable of its own"
            )
        return text


class WebhookSchema(StrictSchema):
    """One webhook of a collection."""

    later = ("url", "secret", "channel", "template")
    instead: Mapping[str, str] = {
        name: f"write '{name}_env: GROWTH_HOOK_{name.upper()}', and the {name} into that environment variable"
        for name in ("url", "secret")
    }
    key = Word(required=True)
    url_env = Variable(required=True)
    secret_env = Variable(required=True)
    events = ListOf(OneOf([kind.value for kind in EventKind]), load_default=list(EventKind))
    default = YesOrNo(load_default=False)

    @post_load
    def to_webhook(self, given: dict[str, Any], **_: object) -> Webhook:
        """Leave the wire form."""
        return Webhook(**{**given, "events": frozenset(EventKind(word) for word in given["events"])})


class Notify(fields.Field[tuple[str, ...]]):
    """The webhooks that an experiment tells, by name; an empty list tells nobody."""

    def _deserialize(self, value: Any, *_: object, **__: object) -> tuple[str, ...]:  # noqa: ANN401
        return tuple(dict.fromkeys(ListOf(Name(), longest=20).deserialize(value)))


def told_of(experiment: Experiment, webhooks: Mapping[str, Webhook], kind: EventKind) -> tuple[str, ...]:
    """Return the names of the webhooks that are told of an event of an experiment."""
    named = experiment.notify
    if named is None:
        named = tuple(key for key, hook in sorted(webhooks.items()) if hook.default)
    return tuple(key for key in named if key in webhooks and kind in webhooks[key].events)
