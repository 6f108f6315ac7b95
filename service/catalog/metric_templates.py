"""Metrics that everybody knows, by name: what `template: average_order_value` stands for.

Events and properties have Segment's names where its specification has them (docs/events.md); what it does not
have, such as the seconds of a visit, is the sender's own. A template never says a currency, nor what a sale
is worth: those are the user's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, cast

from service.catalog.nodes import MappingNode, data, parse


@dataclass(frozen=True, slots=True)
class Template:
    """What a name stands for: a sentence, its YAML, and keys that only the user can say."""

    said: str
    text: str
    asks: tuple[str, ...] = ()


TEMPLATES: Mapping[str, Template] = MappingProxyType(
    {
        "conversion": Template(
            "share of people who order",
            "{kind: conversion, event: Order Completed, window: 7d, label: order rate}",
        ),
        "average_order_value": Template(
            "revenue of an order",
            "{kind: ratio, event: Order Completed, value: revenue, per: Order Completed, window: 7d, "
            "label: average order value}",
        ),
        "revenue": Template(
            "revenue of a person, also of those who order nothing",
            "{kind: mean, event: Order Completed, value: revenue, window: 7d, label: revenue per person}",
        ),
        "margin": Template(
            "what is earned with a person: a share of the revenue, less the discounts given",
            "{kind: margin, event: Order Completed, value: revenue, minus: discount, window: 7d, "
            "label: margin per person}",
            ("factor", "currency"),
        ),
        "cross_sell": Template(
            "share of people with an order that holds something offered beside another product; send "
            "cross_sell: true with it",
            "{kind: conversion, event: Order Completed, where: {cross_sell: true}, window: 7d, "
            "label: cross-sell rate}",
        ),
        "up_sell": Template(
            "share of people with an order of something better that was offered instead; send up_sell: true "
            "with it",
            "{kind: conversion, event: Order Completed, where: {up_sell: true}, window: 7d, "
            "label: up-sell rate}",
        ),
        "visits": Template(
            "how often a person comes",
            "{kind: count, event: Session Started, window: 7d, unit: visits, label: visits per person}",
        ),
        "time_on_site": Template(
            "how long a person stays, over all visits",
            "{kind: mean, event: Session Ended, value: seconds, window: 7d, unit: s, label: time on site}",
        ),
        "response_time": Template(
            "how long a question waits for its first answer",
            "{kind: ratio, event: Ticket Answered, value: seconds, per: Ticket Answered, window: 30d, "
            "direction: down, unit: s, label: response time}",
        ),
        "resolution_time": Template(
            "how long a question waits for its solution",
            "{kind: ratio, event: Ticket Resolved, value: seconds, per: Ticket Resolved, window: 30d, "
            "direction: down, unit: s, label: resolution time}",
        ),
        "cost_to_serve": Template(
            "what the service for a person costs",
            "{kind: mean, event: Ticket Resolved, value: cost, window: 30d, direction: down, "
            "label: cost to serve}",
        ),
        "nps": Template(
            "Net Promoter Score, -100 to 100",
            "{kind: nps, event: Survey Answered, value: score, where: {survey: nps}, window: 30d, "
            "label: net promoter score}",
        ),
        "csat": Template(
            "share of answers that are satisfied: 4 or 5 of 5",
            "{kind: csat, event: Survey Answered, value: score, where: {survey: csat}, window: 30d, "
            "label: satisfaction}",
        ),
        "ces": Template(
            "how easy it was, 1 to 7",
            "{kind: ces, event: Survey Answered, value: score, where: {survey: ces}, window: 30d, "
            "label: ease}",
        ),
        "churn": Template(
            "share of people who do not come any more after a week",
            "{kind: churn, event: Page Viewed, after: 7d, window: 37d, label: churn}",
        ),
        "retention": Template(
            "share of people who come again in the second week",
            "{kind: retention, event: Page Viewed, after: 7d, window: 14d, label: retention}",
        ),
        "repeat_purchase": Template(
            "share of buyers who buy again",
            "{kind: repeat_purchase, event: Order Completed, window: 60d, label: repeat purchase rate}",
        ),
        "cart_abandonment": Template(
            "share of people with something in the cart who then order nothing",
            "{kind: cart_abandonment, event: Product Added, then: Order Completed, window: 3d, "
            "label: cart abandonment}",
        ),
        "lifetime_value": Template(
            "what a customer is worth, from the revenue of two months",
            "{kind: lifetime_value, event: Order Completed, value: revenue, window: 60d, "
            "label: lifetime value}",
            ("factor",),
        ),
    }
)
GIVEN: Mapping[str, str] = MappingProxyType({"factor": "30%", "currency": "EUR"})
"""What the keys that a template asks for may look like."""


@cache
def keys_of(name: str) -> Mapping[str, Any]:
    """Return the keys that a template stands for, as plain YAML data."""
    root, _faults = parse(f"template: {TEMPLATES[name].text}")
    return MappingProxyType(cast("dict[str, Any]", data(cast("MappingNode", root).entries["template"].node)))


def yaml_of(name: str) -> str:
    """Return a metric of a catalog that is what the template stands for, with what it asks for filled in."""
    template = TEMPLATES[name]
    asked = "".join(f", {key}: {GIVEN[key]}" for key in template.asks)
    yours = f" ({' and '.join(template.asks)}: yours)" if template.asks else ""
    return f"  # {template.said}{yours}\n  {name}: {template.text[:-1]}{asked}}}\n"
