"""Layers, holdouts, lists, prerequisites and ramps: read as they are meant, refused at their place."""

from datetime import UTC, datetime

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from experiments.assignment import compile_catalog
from experiments.definitions import Catalog, ControlValue
from experiments.gates import Holdout, Layer, LayerSlot
from experiments.lifecycle import RampStep, Status
from service.catalog import CatalogError, Finding, load
from service.catalog.codes import CODES

METRICS = """\
metrics:
  purchase: {kind: conversion, event: Order Completed, window: 7d}
  refund: {kind: conversion, event: Order Refunded, window: 7d}
"""
GATES = """\
layers:
  page: {description: The product page}
  old: {seed: namespace-1, hash_version: 1, unit: user_id}
holdouts: {q1: {share: 5%, owner: maria@shop.example}}
lists: {vips: [maria, 7, true]}
"""
SHORT = "experiment: tea\nvariants: {control: 1, b: 2}\nmetrics: {primary: purchase}\n"
FULL = (
    SHORT
    + """\
otherwise: 0
layer: {name: page, from: 40%, share: 30%}
holdout: q1
prerequisites: {dark: true, depth: {gte: 2}}
schedule: {start: 2027-01-07T09:00+01:00}
ramp: [{at: start, share: 5%}, {after: 24h, share: 50%}, {at: 2027-01-10T00:00Z, share: 100%}]
seed: from-growthbook
audience: {any: [{user_id: {in_list: vips}}, {tags: {any_element: {not_in_list: vips}}}]}
"""
)
GUARDED = """\
experiment: tea
variants: {control: 1, b: 2}
metrics: {primary: purchase, guardrails: [{metric: refund, margin: 20% relative}]}
"""
FLAGS = """\
flags:
  dark: {overrides: {on: [qa-maria], off: [qa-li]}, status: scheduled, schedule: {start: 2027-01-01T00:00Z}}
  depth: {value: 3, otherwise: 1, layer: {name: page, share: 40%}, holdout: q1, prerequisites: {dark: true}}
"""
START = datetime(2027, 1, 7, 8, tzinfo=UTC)


def catalog(**files: str) -> Catalog:
    return load({"m.yaml": METRICS, "g.yaml": GATES, **{f"{n}.yaml": t for n, t in files.items()}}).catalog


def findings(**files: str) -> tuple[Finding, ...]:
    with pytest.raises(CatalogError) as caught:
        catalog(**files)
    return caught.value.findings


def places(text: str) -> list[tuple[str, int, int]]:
    return [(f.code, f.line, f.column) for f in findings(a=text, _f=FLAGS) if f.path == "a.yaml"]


def test_an_experiment_says_what_stands_before_it() -> None:
    tea = catalog(a=FULL, f=FLAGS).experiments["tea"]

    assert tea.layer == LayerSlot(
        layer=Layer(key="page", description="The product page"), start_bp=4_000, share_bp=3_000
    )
    assert tea.holdout == Holdout(key="q1", share_bp=500, owner="maria@shop.example")
    assert [p.key for p in tea.prerequisites] == ["dark", "depth"]
    assert tea.default_value == 0
    assert (tea.salt, tea.phase) == ("from-growthbook", 1)
    assert tea.allocation_bp == 10_000
    assert tea.ramp == (
        RampStep(START, 500),
        RampStep(datetime(2027, 1, 8, 8, tzinfo=UTC), 5_000),
        RampStep(datetime(2027, 1, 10, tzinfo=UTC), 10_000),
    )


def test_a_flag_has_the_same_gates() -> None:
    flags = catalog(a=SHORT, f=FLAGS).flags

    assert flags["dark"].overrides == {"on": ("qa-maria",), "off": ("qa-li",)}
    assert flags["dark"].status is Status.SCHEDULED
    assert flags["dark"].schedule.start_at == datetime(2027, 1, 1, tzinfo=UTC)
    assert flags["depth"].layer is not None
    assert (flags["depth"].layer.start_bp, flags["depth"].layer.share_bp) == (0, 4_000)
    assert flags["depth"].holdout is not None
    assert flags["depth"].holdout.share_bp == 500


def test_layers_and_lists_are_kept_as_they_are_declared() -> None:
    found = catalog(a=SHORT)

    assert found.layers["old"] == Layer(key="old", seed="namespace-1", hash_version=1, unit="user_id")
    assert found.lists == {"vips": ("maria", 7, True)}
    assert found.experiments["tea"].otherwise is ControlValue.CONTROL


def test_a_catalog_with_every_gate_can_be_served() -> None:
    served = compile_catalog(catalog(a=FULL, f=FLAGS))

    answers = {
        served.assign("tea", {"anonymous_id": f"u{i}", "user_id": "maria"}, now=START).decision
        for i in range(500)
    }
    assert "not_in_layer" in answers
    assert "enrolled" not in answers or len(answers) > 1


def test_a_step_may_wait_for_the_guardrails() -> None:
    steps = (
        "ramp: [{at: 2027-01-01T00:00Z, share: 5%}, {at: 2027-01-02T00:00Z, share: 50%, if: guardrails_ok}]"
    )

    tea = catalog(a=f"{GUARDED}{steps}\n", f=FLAGS).experiments["tea"]

    assert [step.gated for step in tea.ramp] == [False, True]
    assert tea.share_at(datetime(2027, 2, 1, tzinfo=UTC)) == 500


def test_a_step_that_waits_for_guardrails_needs_people_before_it() -> None:
    step = "ramp: [{at: 2027-01-01T00:00Z, share: 5%, if: guardrails_ok}]"

    assert [code for code, _line, _column in places(f"{GUARDED}{step}\n")] == ["E326"]


@pytest.mark.parametrize(
    ("line", "code", "column"),
    [
        ("layer: {name: pgae, share: 5%}", "E407", 15),
        ("layer: page", "E301", 8),
        ("layer: {name: page, form: 5%}", "E102", 21),
        ("layer: {name: page, from: 60%}", "E324", 1),
        ("layer: {name: page, share: 0%}", "E324", 1),
        ("layer: {name: page, share: 0.5}", "E305", 28),
        ("layer: {name: old, share: 5%}", "E412", 15),
        ("layer: {name: page}", "E411", 1),
        ("layer: {name: page, from: 30%, share: 30%}", "E411", 27),
        ("holdout: q2", "E408", 10),
        ("holdout: {name: q1}", "E301", 1),
        ("holdout: q1\nunit: user_id", "E412", 10),
        ("audience: {user_id: {in_list: vps}}", "E409", 31),
        ("audience: {all: [{tags: {any_element: {all: [{name: {in_list: vps}}]}}}]}", "E409", 63),
        ("prerequisites: {drak: true}", "E410", 17),
        ("prerequisites: {depth: {gtt: 1}}", "E203", 25),
        ("prerequisites: {depth: [1, 2]}", "E204", 17),
        ("prerequisites: {depth: {in_list: vps}}", "E409", 34),
        ("prerequisites: {tea: 1}", "E413", 1),
        ("prerequisites: true", "E301", 16),
        ("ramp: []\nallocation: 0.5", "E305", 13),
        ("ramp: 5%", "E301", 7),
        ("ramp: [{at: start, share: 5%}]", "E325", 13),
        ("ramp: [{after: 1h, share: 5%}]", "E325", 16),
        ("ramp: [{share: 5%}]", "E302", 8),
        ("ramp: [{at: start, after: 1h, share: 5%}]", "E300", 8),
        ("ramp: [{at: noon, share: 5%}]", "E307", 13),
        ("ramp: [{at: 2027-01-01T00:00Z, share: 5%, if: guardrail_ok}]", "E303", 47),
        ("ramp: [{at: 2027-01-01T00:00Z, share: 5%, if: guardrails_ok}]", "E327", 47),
        ("ramp: [{at: 2027-01-01T00:00Z, share: 5%}]\nallocation: 5%", "E323", 1),
        ("ramp: [{at: 2027-01-02T00:00Z, share: 5%}, {at: 2027-01-01T00:00Z, share: 9%}]", "E322", 44),
        ("ramp: [{at: 2027-01-01T00:00Z, share: 5%}, {at: 2027-01-02T00:00Z, share: 4%}]", "E322", 44),
        ("otherwise: text", "E313", 12),
        ("seed: dark#1", "E414", 7),
        ("seed: layer:page", "E414", 7),
    ],
)
def test_a_wrong_gate_is_told_with_line_column_and_code(line: str, code: str, column: int) -> None:
    row = 4 + ("allocation" in line and code in ("E305", "E323"))

    assert places(f"{SHORT}{line}\n") == [(code, row, column)]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("layers: {p: {unit: 5}}", "E301"),
        ("layers: {p: {hash_version: 3}}", "E308"),
        ("layers: {p: {share: 5%}}", "E190"),
        ("layers: {Page: {}}", "E304"),
        ("holdouts: {q: {}}", "E302"),
        ("holdouts: {q: {share: 1}}", "E305"),
        ("holdouts: {q: {share: 5%, units: x}}", "E102"),
        ("lists: {l: {a: b}}", "E301"),
        ("lists: {l: [[a]]}", "E301"),
        ("lists: {l: [~]}", "E301"),
        ("lists: {L: []}", "E304"),
        ("flags: {f: {overrides: {yes: [x]}}}", "E314"),
        ("flags: {f: {status: schedulde}}", "E303"),
    ],
)
def test_a_wrong_declaration_is_told(text: str, code: str) -> None:
    assert [f.code for f in findings(x=f"{text}\n") if f.path == "x.yaml"] == [code]


@pytest.mark.parametrize(
    "unit", ["a.b", "$or", "' anonymous_id'", "request", "preview", "person_token", "7up", "é", "u" * 65]
)
def test_a_unit_is_a_plain_attribute_that_the_server_does_not_write_over(unit: str) -> None:
    assert places(f"{SHORT}unit: {unit}\n") == [("E304", 4, 7)]
    for declared in (
        "flags: {f: {unit: U}}",
        "layers: {p: {unit: U}}",
        "holdouts: {q: {share: 5%, unit: U}}",
    ):
        (found,) = findings(x=declared.replace("U", unit) + "\n")
        assert (found.code, found.hint) == ("E304", "for example anonymous_id, user_id or store_id")


def test_a_unit_may_be_any_attribute_with_a_plain_name() -> None:
    assert catalog(a=f"{SHORT}unit: Store_id-2\n").experiments["tea"].unit == "Store_id-2"


@pytest.mark.parametrize(
    ("line", "code", "column"),
    [
        ("layer: {name: 1, share: 50%}", "E407", 15),
        ("holdout: 1", "E408", 10),
        ("prerequisites: {1: true}", "E410", 17),
        ("metrics: {primary: 7}", "E401", 20),
        ("metrics: {primary: purchase, secondary: [7]}", "E401", 42),
        ("metrics: {primary: purchase, guardrails: [{metric: 7, margin: 2% relative}]}", "E401", 52),
    ],
)
def test_a_whole_number_is_a_name_like_any_other(line: str, code: str, column: int) -> None:
    base = SHORT.replace("metrics: {primary: purchase}\n", "") if "metrics" in line else SHORT
    text = f"{base}{line}\n"
    numbers = "layers: {1: {}}\nholdouts: {1: {share: 5%}}\nflags: {1: {}}\n"
    metric = "metrics: {7: {kind: conversion, event: A, window: 7d}}\n"

    assert places(text) == [(code, text.count("\n"), column)]
    assert "tea" in catalog(a=text, n=numbers, o=metric).experiments


def test_a_placement_may_name_a_recommender_by_a_whole_number() -> None:
    (found,) = findings(x="placements: {home: {recommender: 1}}\n")

    assert (found.code, found.message) == ("E404", "unknown recommender '1'")


def test_everything_wrong_with_gates_comes_in_one_run() -> None:
    wrong = FULL.replace("page", "pgae").replace("q1", "q2").replace("dark:", "drak:").replace("vips", "vps")

    found = findings(a=wrong.replace("schedule: {start: 2027-01-07T09:00+01:00}\n", ""), f=FLAGS)

    assert [f.code for f in found] == ["E407", "E408", "E410", "E325", "E325", "E409", "E409"]


def test_a_place_that_is_taken_is_told_with_the_free_one() -> None:
    (found,) = findings(a=f"{SHORT}layer: {{name: page, from: 25%, share: 30%}}\n", _f=FLAGS)

    assert found.text() == (
        "a.yaml:4:27  error E411  the place 25% to 55% of layer 'page' is taken: "
        "'depth' (_f.yaml) has 0% to 40%\n"
        "    4 | layer: {name: page, from: 25%, share: 30%}\n"
        "      |                           ^^^ free: 40% to 100%: write from: 40%"
    )


def test_an_unknown_layer_is_told_with_a_near_one() -> None:
    (found,) = findings(a=f"{SHORT}layer: {{name: pgae, share: 5%}}\n")

    assert found.text() == (
        "a.yaml:4:15  error E407  unknown layer 'pgae'\n"
        "    4 | layer: {name: pgae, share: 5%}\n"
        "      |               ^^^^ did you mean 'page'?"
    )


def test_prerequisites_in_a_circle_and_endless_chains_are_told_once() -> None:
    def chain(n: int) -> str:
        links = (f"  f{i}: {{prerequisites: {{f{i + 1}: true}}}}\n" for i in range(n - 1))
        return "flags:\n" + "".join(links) + f"  f{n - 1}: {{}}\n"

    circle = (
        "flags: {a: {prerequisites: {b: true}}, b: {prerequisites: {c: true}}, c: {prerequisites: {a: true}}}"
    )
    (found,) = findings(x=f"{circle}\n")
    assert (found.code, found.message) == ("E413", "prerequisites need each other: a -> b -> c -> a")
    assert "f0" in compile_catalog(catalog(x=chain(32))).keys
    assert [(f.code, f.line) for f in findings(x=chain(33))] == [("E413", 2)]
    assert [(f.code, f.line) for f in findings(x=chain(3_000))] == [("E413", 3_000 - 33 + 2)]


@settings(max_examples=200, deadline=None)
@given(
    cut=st.integers(0, 700),
    length=st.integers(0, 14),
    put=st.sampled_from(
        ["", "~", "[]", "{}", "0%", "start", "- ", ": ", "'", "x", "[{", "true", "1e9", "after: 1h,"]
    ),
)
def test_damaged_gates_are_refused_or_read_and_never_crash(cut: int, length: int, put: str) -> None:
    text = f"{GATES}{FLAGS}"
    files = {
        "m.yaml": METRICS,
        "g.yaml": text[:cut] + put + text[cut + length :],
        "a.yaml": FULL[:cut] + put + FULL[cut + length :],
    }

    found: tuple[Finding, ...] = ()
    try:
        load(files)
        event("read")
    except CatalogError as error:
        found = error.findings
        event("refused")

    assert all(f.code in CODES and f.line >= 1 and f.column >= 1 for f in found)
