"""Every template and every example of the page on one history: the lake gives what the definitions say."""

import random
from collections import defaultdict
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from experiments.definitions import Metric
from experiments.event_filters import COMPARISONS, amounts_asked
from experiments.targeting.conditions import Leaf, nodes
from service.catalog import load
from service.catalog.metric_templates import TEMPLATES, yaml_of
from service.storage.records import Event
from tests.service.lake.logs import START, an_event, an_exposure, days
from tests.service.lake.test_kinds import UNITS, VARIANTS, by_hand, facts_of

PAGE = Path(__file__).resolve().parents[3] / "docs" / "metrics.md"
AMOUNTS = (0, 1, 4, 5, 7, 9, 10, 19.99, 0.1, -3, 250, 1e308, "5", None, True, [5])
SHORTER = {
    "window: 7d": "window: 3d",
    "window: 14d": "window: 4d",
    "window: 30d": "window: 5d",
    "window: 37d": "window: 5d",
    "window: 60d": "window: 6d",
    "after: 7d": "after: 2d",
    "lookback: 14d": "lookback: 2d",
}
OTHERS = ("else", None, ["tea"])


def defined() -> list[Metric]:
    """Return all metrics of templates and of the page, with windows short enough for the history."""
    templates = "metrics:\n" + "".join(map(yaml_of, TEMPLATES))
    blocks = [part.partition("```")[0] for part in PAGE.read_text("utf-8").split("```yaml\n")[1:]]
    found: dict[str, Metric] = {}
    for n, text in enumerate([templates, *(b for b in blocks if b.startswith("metrics:"))]):
        for key, metric in load({"m.yaml": _shorter(text)}).catalog.metrics.items():
            found[f"{n}-{key}"] = metric
    return [replace(metric, key=key) for key, metric in found.items()]


def _shorter(text: str) -> str:
    for written, shorter in SHORTER.items():
        text = text.replace(written, shorter)
    return text


def wanted_words(metrics: list[Metric]) -> dict[str, list[Any]]:
    """Return the properties that filters ask for words, each with those that some filter wants."""
    words: dict[str, list[Any]] = defaultdict(list, currency=["EUR", "USD"])
    leaves = (leaf for m in metrics for told in (m.counts, m.per_counts) for leaf in nodes(told))
    for leaf in leaves:
        if isinstance(leaf, Leaf) and leaf.op not in COMPARISONS:
            words[leaf.attribute] += leaf.operand if isinstance(leaf.operand, tuple) else [leaf.operand]
    return words


def history(rng: random.Random, metrics: list[Metric]) -> list[Event]:
    types = sorted({t for m in metrics for t in (m.event, m.per, m.then) if t})
    numbers = {n for m in metrics for told in (m.counts, m.per_counts) for n in amounts_asked(told)}
    numbers |= {n for m in metrics for n in (m.value, m.per_value, m.minus) if n}
    words = {name: found for name, found in wanted_words(metrics).items() if name not in numbers}
    found = [
        an_exposure(f"x{i}", unit, list(VARIANTS)[i % 3], at=START + timedelta(hours=rng.randrange(48)))
        for i, unit in enumerate(UNITS)
    ]
    for i in range(1_500):
        told: dict[str, Any] = {name: rng.choice([*wanted, *OTHERS]) for name, wanted in words.items()}
        told |= {name: rng.choice(AMOUNTS) for name in sorted(numbers)}
        kept = {name: value for name, value in told.items() if rng.random() < 0.8}
        at = START + timedelta(minutes=30 * rng.randrange(10 * 48) - 2 * 1440)
        found.append(an_event(f"e{i}", rng.choice(types), anonymous_id=rng.choice(UNITS), at=at, **kept))
    return found


def test_templates_and_examples_give_what_their_definitions_say(tmp_path: Path) -> None:
    metrics = defined()
    events = history(random.Random(7), metrics)
    until = START + days(9)

    facts = facts_of(tmp_path, events, metrics, until=until)

    assert len(metrics) > len(TEMPLATES) + 15
    for wanted in metrics:
        expected, absent = by_hand(events, wanted, until=until)
        found = {(p.variant, p.period): p.moments for p in facts.periods if p.metric == wanted.key}
        assert found == expected, wanted.key
        assert facts.absent.get(wanted.key, 0) == absent, wanted.key
        assert any(moments.total for moments in expected.values()), wanted.key
