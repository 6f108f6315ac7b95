"""What may not change about the gates of an experiment that has begun, and what the refusal says."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from experiments.definitions import Catalog, Experiment
from experiments.gates import Holdout, Layer, LayerSlot
from experiments.launch import moved_units, review
from experiments.lifecycle import RampStep, Status
from tests.experiments.builders import experiment

NOW = datetime(2027, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
PAGE = Layer(key="page")
SLOT = LayerSlot(layer=PAGE, start_bp=4_000, share_bp=3_000)
Q1 = Holdout(key="q1", share_bp=500)


def blocked(old: Experiment, new: Experiment) -> tuple[str, ...]:
    one, two = (Catalog(experiments={"banner": e}) for e in (old, new))
    return review(one, two, now=NOW)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"layer": None}, "its layer changed; that needs a new phase: set 'phase: 2'"),
        ({"layer": replace(SLOT, layer=Layer(key="other"))}, "its layer changed"),
        ({"layer": replace(SLOT, layer=replace(PAGE, seed="s"))}, "its layer changed"),
        ({"layer": replace(SLOT, layer=replace(PAGE, hash_version=1))}, "its layer changed"),
        (
            {"layer": replace(SLOT, start_bp=5_000)},
            "its place in layer 'page' may not move (from 40% to 50%): write 'from: 40%', or set 'phase: 2'",
        ),
        (
            {"layer": replace(SLOT, share_bp=2_000)},
            "its share of layer 'page' may only grow (from 30% to 20%): write 'share: 30%', or set 'phase",
        ),
        ({"holdout": None}, "its holdout changed"),
        ({"holdout": replace(Q1, seed="s")}, "its holdout changed"),
        (
            {"holdout": replace(Q1, share_bp=1_000)},
            "its holdout 'q1' may not grow (from 5% to 10%), enrolled units would leave: write 'share: 5%'",
        ),
        ({"seed": "theirs"}, "its seed changed"),
    ],
)
@pytest.mark.parametrize("status", [Status.RUNNING, Status.PAUSED])
def test_what_takes_enrolled_units_out_is_refused(status: Status, changes: Any, words: str) -> None:
    old = experiment(status=status, layer=SLOT, holdout=Q1)

    assert [words in message for message in blocked(old, replace(old, **changes))] == [True]
    assert blocked(old, replace(old, phase=2, **changes)) == ()
    draft = replace(old, status=Status.DRAFT)
    assert blocked(draft, replace(draft, **changes)) == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"layer": replace(SLOT, share_bp=6_000)},
        {"layer": replace(SLOT, layer=replace(PAGE, description="the page of a product"))},
        {"holdout": replace(Q1, share_bp=100)},
        {"holdout": replace(Q1, description="first quarter")},
    ],
)
def test_what_lets_more_units_in_is_allowed(changes: Any) -> None:
    old = experiment(layer=SLOT, holdout=Q1)

    assert blocked(old, replace(old, **changes)) == ()


def ramp(*shares: int) -> dict[str, Any]:
    steps = tuple(RampStep(NOW + n * DAY, share) for n, share in enumerate(shares, start=-1))
    return {"ramp": steps, "allocation_bp": shares[-1]}


@pytest.mark.parametrize(
    ("changes", "now_share"),
    [
        (ramp(1_000, 5_000, 10_000), None),
        (ramp(1_000, 9_000), None),
        (ramp(500, 6_000, 6_000), None),
        ({"ramp": (), "allocation_bp": 5_000}, None),
        (ramp(1_000, 4_000, 10_000), "40%"),
        ({"ramp": (RampStep(NOW + DAY, 10_000),)}, "0%"),
        ({"ramp": (), "allocation_bp": 4_900}, "49%"),
    ],
)
def test_a_ramp_may_change_as_long_as_nobody_who_is_enrolled_leaves(
    changes: Any, now_share: str | None
) -> None:
    old = experiment(**ramp(1_000, 5_000, 10_000))

    found = blocked(old, replace(old, **changes))
    if now_share is None:
        assert found == ()
    else:
        assert f"50% of the units are enrolled by now, with this change {now_share} would be" in found[0]
        assert "let a step that has begun say 'share: 50%', or set 'phase: 2'" in found[0]


def test_a_refused_change_takes_somebody_out_and_an_allowed_one_nobody() -> None:
    units = [f"u{i}" for i in range(3_000)]
    old = experiment(layer=SLOT, holdout=Q1, **ramp(1_000, 5_000, 10_000))
    allowed: list[dict[str, Any]] = [
        {"layer": replace(SLOT, share_bp=6_000)},
        {"holdout": replace(Q1, share_bp=1)},
        ramp(1_000, 7_000),
    ]
    refused: list[dict[str, Any]] = [
        {"layer": replace(SLOT, start_bp=5_000)},
        {"layer": replace(SLOT, share_bp=1_000)},
        {"holdout": replace(Q1, share_bp=3_000)},
        {"seed": "theirs"},
        ramp(1_000, 2_000),
    ]

    for changes in allowed:
        moved = moved_units(old, replace(old, **changes), units, at=NOW)
        assert blocked(old, replace(old, **changes)) == ()
        assert moved.leave == moved.move == 0 < moved.join
    for changes in refused:
        moved = moved_units(old, replace(old, **changes), units, at=NOW)
        assert blocked(old, replace(old, **changes))
        assert moved.leave + moved.move > 0
