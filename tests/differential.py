"""Random catalogs and random people, the same for the same seed: what the engine and every SDK must agree on.

Values are sometimes of the wrong type, as browsers send them. One thing is left out, because GrowthBook's own
SDKs disagree about it: a number, or a version, of the other type (the text "8", the number 5.2).
"""

import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from experiments.definitions import Catalog
from experiments.steering import steer
from experiments.targeting.lists import hashed_member
from service.catalog.loader import load
from service.storage.analysis_records import Steering

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
WORDS = [
    "ES",
    "pt",
    "Zürich",
    "zürich",
    "😀 café",
    "cafe\u0301",
    "\U0001d4b3-1",
    "İstanbul",
    "a.b",
    "x/y",
    "naïve",
    "京都",
    "tea\n",
]
TAGS = ["tea", "Tea", "café", "😀", "e\u0301", "new"]
VERSIONS = ["1.0.0", "1.10.2", "2.0.0-rc.1", "v1.9.0+b7", "3", "1.10"]
PATTERNS = [
    "^[A-Z]{2}$",
    "caf.",
    "[^a-z]",
    "\\d$",
    "\\w+-\\d",
    "(tea|pt)",
    "z.?rich",
    "\\bx\\b",
    "a\\.b$",
    "o{0,2}",
]
FOLDED = ["^es$", "[k-s]t", "TEA", "x/Y"]
MOMENTS = ["2027-01-07T09:00:00Z", "2027-01-31", "2026-12-24T23:59:59Z", "2027-02-14T00:00:00Z"]
MEMBERS = ["m-1", "m-2", "é", "😀"]
ODD: list[Any] = [None, True, False, [], ["tea"], [None], [3], {}, {"a": 1}, "", "?"]
UNITS = ["anonymous_id", "user_id", "account_id"]


def files(seed: int) -> dict[str, str]:
    """Return a catalog folder, as name -> text; JSON is YAML."""
    folder = _Maker(random.Random(seed)).folder()
    _gate_ramps(random.Random(f"gates {seed}"), folder)
    return {name: json.dumps(value, ensure_ascii=False) for name, value in folder.items()}


def decided(seed: int, catalog: Catalog) -> list[Steering]:
    """Return what was decided about some experiments of a catalog while they ran."""
    draw = random.Random(f"decided {seed}")
    found = []
    for key, one in sorted(catalog.experiments.items()):
        shipped = draw.choice(["", "", "", "v0", "v1"])
        steps = draw.choice([None, *range(1, len(one.ramp) + 1)])
        if shipped or steps:
            found.append(Steering(experiment=key, phase=one.phase, shipped=shipped, ramp_steps=steps))
    return found


def catalogs(seed: int) -> Iterator[Catalog]:
    """Yield catalogs without end, with what was decided about their experiments."""
    while True:
        catalog = load(files(seed)).catalog
        yield steer(catalog, {(one.experiment, one.phase): one for one in decided(seed, catalog)})
        seed += 1


def people(seed: int, n: int) -> list[dict[str, Any]]:
    """Return attributes of people; an id is sometimes a number, odd, overridden or missing."""
    draw = random.Random(f"people {seed}")
    return [_person(draw) for _ in range(n)]


def _person(draw: random.Random) -> dict[str, Any]:
    found: dict[str, Any] = {
        "country": draw.choice(WORDS),
        "name": draw.choice(WORDS) + draw.choice(["", "!", "\u0301", "👩\u200d🚀", "x"]),
        "age": draw.choice([0, 1, 17, 18, 30, 64.5, -3]),
        "premium": draw.random() < 0.5,
        "tags": draw.sample(TAGS, draw.randrange(4)),
        "app": draw.choice(VERSIONS),
        "joined": draw.choice(["2027-01-07T08:59:59Z", "2027-01-31T00:00:00Z", "2026-12-25T00:00:00Z"]),
        "geo": {"city": draw.choice(WORDS), "zone": draw.randrange(3)},
        "items": [{"sku": draw.choice(TAGS), "n": draw.randrange(4)} for _ in range(draw.randrange(3))],
        "member": hashed_member("vips", draw.choice([*MEMBERS, "stranger"])),
    }
    for name in list(found):
        chance = draw.random()
        if chance < 0.08:
            del found[name]
        elif chance < 0.14:
            found[name] = draw.choice([one for one in ODD if name not in ("age", "app") or one != ""])
    found |= {unit: _unit_id(draw, unit) for unit in UNITS if draw.random() < 0.9}
    return found


def _unit_id(draw: random.Random, unit: str) -> Any:
    number = draw.randrange(10**6)
    shapes: list[Callable[[], Any]] = [
        lambda: f"{unit}-{number}",
        lambda: number,
        lambda: f"{number:032x}",
        lambda: f"😀{number}é",
        lambda: f"e\u0301{number}\u0308",
        lambda: f"qa-{number % 4}",
        lambda: draw.choice(
            ["", 0, None, True, ["qa-1"], "x" * 128, "x" * 129, "😀" * 128, "a\tb", "7.0", 7.0]
        ),
    ]
    return draw.choice(shapes)()


class _Maker:
    """Makes one catalog."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._layers: dict[str, int] = {}

    def folder(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "metrics.yaml": {
                "metrics": {
                    "buy": {"kind": "conversion", "event": "Order Completed", "window": "7d"},
                    "refund": {"kind": "conversion", "event": "Order Refunded", "window": "7d"},
                }
            },
            "gates.yaml": {
                "layers": {
                    "page": {"hash_version": self._draw.choice([1, 2])},
                    "account": {"unit": "account_id"},
                },
                "holdouts": {"q1": {"share": "10%"}, "users": {"share": "5%", "unit": "user_id"}},
                "lists": {"vips": MEMBERS},
                "audiences": {"young": {"age": {"lt": 30}}, "fans": self._condition(2)},
            },
        }
        keys: list[str] = []
        for i in range(8):
            key = f"d{i}-{self._draw.randrange(100)}"
            is_flag = self._draw.random() < 0.4
            one = self._flag(key) if is_flag else self._experiment(key)
            self._gate(one, keys)
            found[f"{key}.yaml"] = one
            keys.append(key)
        return found

    def _experiment(self, key: str) -> dict[str, Any]:
        shares: list[list[Any]] = [[50, 50], [10, 90], [33, 33, 34], [0, 100], ["12.5%", "87.5%"]]
        kinds: list[list[Any]] = [[True, False], ["a", "b"], [1, 2.5], [{"x": 1}, {"x": 2}], [[1], [2]]]
        weights, values = self._draw.choice(shares), self._draw.choice(kinds)
        arms = {f"v{i}": {"weight": w, "value": values[i % 2]} for i, w in enumerate(weights)}
        one: dict[str, Any] = {"experiment": key, "metrics": {"primary": "buy"}, "variants": arms}
        if self._draw.random() < 0.3:
            one["phase"] = self._draw.randrange(2, 9)
        if self._draw.random() < 0.3:
            one["otherwise"] = values[1]
        if self._draw.random() < 0.3:
            one["overrides"] = {"v1": ["qa-1", "qa-2"], "v0": ["qa-3"]}
        return one

    def _flag(self, key: str) -> dict[str, Any]:
        value, otherwise = self._draw.choice(
            [(True, False), ("on", "off"), (3, 0), (False, True), ({"a": 1}, {})]
        )
        one: dict[str, Any] = {"flag": key, "value": value, "otherwise": otherwise}
        if self._draw.random() < 0.3:
            one["overrides"] = {"off": ["qa-1"], "on": ["qa-2", "qa-0"]}
        return one

    def _gate(self, one: dict[str, Any], keys: list[str]) -> None:
        draw = self._draw
        one["unit"] = draw.choice([*UNITS, "anonymous_id"])
        one["status"] = draw.choice(["running"] * 8 + ["scheduled", "paused", "stopped", "draft"])
        if draw.random() < 0.7:
            one["audience"] = self._condition(3)
        if draw.random() < 0.3:
            start, end = draw.choice([(-9, None), (-9, 9), (-9, -1), (1, 9)])
            one["schedule"] = {"start": _moment(start), **({"end": _moment(end)} if end else {})}
        self._share(one)
        if one.get("schedule", {}).get("start", "") > NOW.isoformat() or _begins_later(one):
            one.pop("overrides", None)  # nothing of it is public yet
        layer = {"anonymous_id": "page", "account_id": "account"}.get(one["unit"])
        if layer and draw.random() < 0.5 and self._layers.get(layer, 0) < 4:
            place = self._layers[layer] = self._layers.get(layer, 0) + 1
            one["layer"] = {"name": layer, "from": f"{(place - 1) * 25}%", "share": "24.5%"}
        holdout = {"anonymous_id": "q1", "user_id": "users"}.get(one["unit"])
        if holdout and draw.random() < 0.4:
            one["holdout"] = holdout
        if keys and draw.random() < 0.3:
            wanted = draw.choice([True, "b", {"ne": False}, {"in": ["a", 1, 3]}, {"gte": 2}])
            one["prerequisites"] = {draw.choice(keys): wanted}

    def _share(self, one: dict[str, Any]) -> None:
        chance = self._draw.random()
        if chance < 0.4:
            one["allocation"] = self._draw.choice(["50%", "0%", "99.99%", "0.01%", "33.33%"])
        elif chance < 0.6:
            steps = sorted(self._draw.sample(range(-8, 8), 3))
            shares = ["1%", "20%", "100%"]
            one["ramp"] = [{"at": _moment(d), "share": s} for d, s in zip(steps, shares, strict=True)]

    def _condition(self, depth: int) -> dict[str, Any]:
        chance = self._draw.random()
        if depth and chance < 0.4:
            parts = [self._condition(depth - 1) for _ in range(self._draw.randrange(1, 4))]
            return {self._draw.choice(["all", "any", "none"]): parts}
        if depth and chance < 0.5:
            return {"not": self._condition(depth - 1)}
        if depth == 3 and chance < 0.6:
            return {"audience": self._draw.choice(["young", "fans"])}
        attribute, op, operand = self._draw.choice([self._text, self._number, self._other, self._list])()
        if self._draw.random() < 0.1:
            return {attribute: {"not": {op: operand}}}
        return {attribute: {op: operand}}

    def _text(self) -> tuple[str, str, Any]:
        draw = self._draw
        attribute = draw.choice(["country", "name", "geo.city"])
        word = draw.choice(WORDS)
        some = draw.sample(WORDS, 3)
        op, operand = draw.choice(
            [
                ("eq", word),
                ("ne", word),
                (draw.choice(["in", "not_in", "in_any_case", "not_in_any_case"]), [*some, None, 3, True]),
                ("contains", draw.choice(["é", "a", "😀", "tea"])),
                ("starts_with", word[:2]),
                ("ends_with", word[-1]),
                (draw.choice(["regex", "not_regex"]), draw.choice(PATTERNS)),
                (draw.choice(["regex_any_case", "not_regex_any_case"]), draw.choice(FOLDED)),
                (draw.choice(["gt", "gte", "lt", "lte"]), draw.choice(["M", "a", "zz"])),
                ("exists", draw.random() < 0.5),
                ("type", draw.choice(["string", "null", "array", "object", "boolean", "number"])),
            ]
        )
        return attribute, op, operand

    def _number(self) -> tuple[str, str, Any]:
        draw = self._draw
        op = draw.choice(["eq", "ne", "gt", "gte", "lt", "lte", "in", "exists"])
        if op == "exists":
            return "age", op, draw.random() < 0.5
        return (
            draw.choice(["age", "geo.zone"]),
            op,
            [1, 18, None] if op == "in" else draw.choice([-1, 0, 1, 18, 30.5]),
        )

    def _other(self) -> tuple[str, str, Any]:
        draw = self._draw
        found: list[tuple[str, str, Any]] = [
            ("premium", draw.choice(["eq", "ne"]), draw.choice([True, False, None, 1])),
            ("app", f"semver_{draw.choice(['eq', 'ne', 'gt', 'gte', 'lt', 'lte'])}", draw.choice(VERSIONS)),
            ("joined", draw.choice(["before", "after"]), draw.choice(MOMENTS)),
            ("member", draw.choice(["in_list", "not_in_list"]), "vips"),
            ("geo.city.name", "exists", False),
        ]
        return draw.choice(found)

    def _list(self) -> tuple[str, str, Any]:
        draw = self._draw
        some = draw.sample(TAGS, draw.randrange(1, 3))
        found: list[tuple[str, str, Any]] = [
            ("tags", draw.choice(["in", "not_in", "in_any_case", "has_all", "has_all_any_case"]), some),
            ("tags", "contains", some[0]),
            ("tags", draw.choice(["eq", "ne"]), some),
            ("tags", "size", draw.randrange(3)),
            ("tags", "size", {"gte": 1, "lt": 3}),
            ("tags", "any_element", {"starts_with": "T", "not": {"eq": "Tea"}}),
            ("tags", "any_element", {"any": [{"sku": "tea"}, {"sku": {"exists": False}}]}),
            ("items", "any_element", {"sku": {"in": some}, "n": {"gt": 1}}),
            ("items", "any_element", {"any": [{"n": 3}, {"sku": some[0]}]}),
            ("items", "any_element", {"not": {"n": {"lt": 2}}}),
        ]
        return draw.choice(found)


def _gate_ramps(draw: random.Random, folder: dict[str, Any]) -> None:
    """Let half of the ramps of experiments wait for guardrails at their second or third step."""
    for one in folder.values():
        if "experiment" in one and "ramp" in one and draw.random() < 0.5:
            one["metrics"]["guardrails"] = [{"metric": "refund", "margin": "20% relative"}]
            one["ramp"][draw.choice([1, 2])]["if"] = "guardrails_ok"


def _begins_later(one: dict[str, Any]) -> bool:
    return bool(one.get("ramp")) and one["ramp"][0]["at"] > NOW.isoformat()


def _moment(days: int) -> str:
    return (NOW + days * DAY).isoformat()
