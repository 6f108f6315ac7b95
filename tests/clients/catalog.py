"""A catalog with a flag of every type, two units, targeting and an override; and how to ask for each."""

from dataclasses import dataclass
from typing import Any

CATALOG = {
    "data.yaml": "data: {client_revenue: allow}\n",
    "metrics.yaml": "metrics:\n  purchase: {kind: conversion, event: Order Completed, window: 7d}\n",
    "experiments/hero.yaml": """\
experiment: hero
variants: {control: "", banner: "Free shipping over 30 EUR", countdown: "Ends on Sunday ⏳"}
metrics: {primary: purchase}
""",
    "experiments/columns.yaml": """\
experiment: columns
variants: {control: 3, wide: 4}
metrics: {primary: purchase}
""",
    "experiments/discount.yaml": """\
experiment: discount
allocation: 60%
variants: {control: 0.0, tenth: 0.1, round: 1.0}
overrides: {tenth: [qa-maria]}
metrics: {primary: purchase}
""",
    "experiments/checkout.yaml": """\
experiment: checkout
variants: {control: false, short: true}
metrics: {primary: purchase}
""",
    "experiments/members.yaml": """\
experiment: members
unit: user_id
audience: {all: [{country: {in: [ES, PT]}}, {app_version: {semver_gte: "5.2.0"}}]}
variants: {control: {plan: 1, perks: []}, gold: {plan: 2, perks: [gift, "late returns"]}}
metrics: {primary: purchase}
""",
    "flags/search.yaml": "flag: search\nvalue: true\n",
    "flags/greeting.yaml": """\
flag: greeting
value: "¡Hola!"
otherwise: Hello
audience: {language: {starts_with: es}}
""",
    "flags/limit.yaml": "flag: limit\nvalue: 20\notherwise: 10\nallocation: 50%\n",
    "flags/tax.yaml": "flag: tax\nvalue: 2.0\notherwise: 0.5\naudience: {country: ES}\n",
    "flags/theme.yaml": """\
flag: theme
value: {dark: true, accents: [1, 2]}
otherwise: {dark: false, accents: []}
""",
    "flags/kill-me.yaml": "flag: kill-me\nvalue: on air\notherwise: off air\n",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One flag, the type its callers expect, and the default in their code."""

    flag: str
    type: str
    otherwise: Any


ASKS = (
    Ask(flag="hero", type="string", otherwise="code default"),
    Ask(flag="columns", type="integer", otherwise=-1),
    Ask(flag="discount", type="float", otherwise=-1.5),
    Ask(flag="checkout", type="boolean", otherwise=False),
    Ask(flag="members", type="object", otherwise={"plan": -1}),
    Ask(flag="search", type="boolean", otherwise=False),
    Ask(flag="greeting", type="string", otherwise="code default"),
    Ask(flag="limit", type="integer", otherwise=-1),
    Ask(flag="tax", type="float", otherwise=-1.5),
    Ask(flag="theme", type="object", otherwise={}),
)


def people(number: int) -> list[dict[str, Any]]:
    """Return contexts of many kinds: ids of every alphabet, with and without what audiences ask for."""
    shapes = (
        "3f0c1c6e-6a0e-4a57-9d5f-{:012x}",
        "visitor-{}",
        "maria+{}@shop.example",
        "顾客{}",
        "👩🏽‍🚀{}",
        "é{}",
    )
    countries, languages, versions = (
        ("ES", "PT", "GB", None),
        ("es-MX", "en", None),
        ("5.10.1", "5.1.9", None),
    )
    found = []
    for n in range(number):
        context = {
            "targetingKey": shapes[n % len(shapes)].format(n),
            "user_id": f"u-{n}" if n % 3 else None,
            "country": countries[n % len(countries)],
            "language": languages[n // 2 % len(languages)],
            "app_version": versions[n // 3 % len(versions)],
        }
        found.append({name: value for name, value in context.items() if value is not None})
    found.append({"targetingKey": "qa-maria"})
    return found
