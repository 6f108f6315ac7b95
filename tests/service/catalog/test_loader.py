"""Files become a catalog, or every error is told at its place."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from experiments.assignment import compile_catalog
from experiments.definitions import Experiment
from experiments.lifecycle import Status
from service.catalog import CatalogError, Finding, load, read_folder
from service.catalog.codes import CODES
from service.settings import DEMO_CATALOG, REPOSITORY

METRICS = "metrics:\n  purchase: {kind: conversion, event: Order Completed, window: 7d}\n"
SHORT = 'experiment: banner\nvariants: {control: "", banner: Free}\nmetrics: {primary: purchase}\n'
LONG = """\
experiment: free-shipping
owner: maria@shop.example
hypothesis: {statement: "It sells.", baseline: 4.2%, target: 4.6%, due: 2027-01-31}
status: scheduled
schedule: {start: 2027-01-07T09:00+01:00, end: 2027-02-07T09:00+01:00}
unit: user_id
phase: 2
audience: {all: [{country: {in: [ES, PT, NO]}}, {orders_90d: {lt: 1}}]}
allocation: 50%
variants: {control: {weight: 33.33, value: ""}, banner: {weight: 66.67%, value: "Free"}}
overrides: {banner: [qa-maria]}
metrics: {primary: purchase, secondary: [revenue], guardrails: [{metric: refund_rate, margin: 2% relative}]}
analysis: {test: sequential, alpha: 5%, power: 0.8, mde: 10% relative, look: day}
decide: {min_runtime: 14d, automatic: none, at_end_otherwise: keep_control}
"""
MORE_METRICS = """\
metrics:
  revenue: {kind: mean, event: Order Completed, value: revenue, currency: EUR, window: 7d, cap: 500}
  refund_rate: {kind: conversion, event: Order Refunded, window: 24h, direction: down, where: {full: true}}
"""


def findings(text: str, **others: str) -> tuple[Finding, ...]:
    files = {"a.yaml": text, **{f"{name}.yaml": other for name, other in others.items()}}
    with pytest.raises(CatalogError) as caught:
        load(files)
    return caught.value.findings


def places(text: str, **others: str) -> list[tuple[str, int, int]]:
    return [(f.code, f.line, f.column) for f in findings(text, **others)]


def test_the_short_form_has_every_default() -> None:
    experiment = load({"e.yaml": SHORT, "m.yaml": METRICS}).catalog.experiments["banner"]

    assert [(v.key, v.value, v.weight_bp) for v in experiment.variants] == [
        ("control", "", 5000),
        ("banner", "Free", 5000),
    ]
    assert (experiment.status, experiment.unit, experiment.phase) == (Status.RUNNING, "anonymous_id", 1)
    assert experiment.allocation_bp == 10_000
    assert experiment.analysis.baseline == 0.05


def test_the_long_form_says_everything() -> None:
    files = {"x/deep/e.yaml": LONG, "m.yaml": METRICS, "n.yml": MORE_METRICS}

    experiment = load(files).catalog.experiments["free-shipping"]

    assert isinstance(experiment, Experiment)
    assert [v.weight_bp for v in experiment.variants] == [3333, 6667]
    assert experiment.schedule.start_at == datetime(2027, 1, 7, 8, tzinfo=UTC)
    plan = experiment.analysis
    assert (plan.alpha, plan.mde, plan.baseline) == (0.05, 0.1, 0.042)
    assert experiment.decide.min_runtime_s == 14 * 86_400
    assert experiment.overrides == {"banner": ("qa-maria",)}
    assert experiment.metrics.guardrails[0].margin == 0.02
    assert load(files).catalog.metrics["refund_rate"].where == {"full": True}


def test_values_may_be_objects_in_the_short_form() -> None:
    text = "experiment: x\nvariants: {a: {color: red}, b: {color: teal}}\nmetrics: {primary: purchase}\n"

    experiment = load({"e.yaml": text, "m.yaml": METRICS}).catalog.experiments["x"]

    assert experiment.variants[1].value == {"color": "teal"}


def test_three_variants_without_weights_share_equally() -> None:
    text = "experiment: x\nvariants: {a: 1, b: 2, c: 3}\nmetrics: {primary: purchase}\n"

    experiment = load({"e.yaml": text, "m.yaml": METRICS}).catalog.experiments["x"]

    assert [v.weight_bp for v in experiment.variants] == [3334, 3333, 3333]


@pytest.mark.parametrize(
    ("line", "code", "column"),
    [
        ("allocation: 0.5", "E305", 13),
        ("allocation: 101%", "E305", 13),
        ("allocation: 12.345%", "E305", 13),
        ("status: runing", "E303", 9),
        ("phase: 0", "E308", 8),
        ("phase: 1.0", "E308", 8),
        ("unit: 5", "E301", 7),
        ("owner:", "E301", 7),
        ("wieght: 1", "E102", 1),
        ("layer: {name: x}", "E407", 15),
        ("holdout: q1", "E408", 10),
        ("prerequisites: []", "E301", 1),
        ("analysis: {test: fixed}", "E190", 18),
        ("analysis: {look: hour}", "E190", 18),
        ("analysis: {alpha: 5}", "E305", 19),
        ("analysis: {mde: 10 absolute}", "E190", 17),
        ("decide: {automatic: rolback}", "E303", 21),
        ("decide: {min_runtime: 7}", "E306", 23),
        ("schedule: {start: 2027-01-07T09:00}", "E307", 19),
        ("schedule: {start: 9999-12-31T23:59:59-14:00}", "E307", 19),
        ("schedule: {start: 2027-02-30T09:00Z}", "E307", 19),
        ("schedule: {start: 2027-02-02T09:00Z, end: 2027-02-01T09:00Z}", "E321", 43),
        ("hypothesis: {due: tomorrow}", "E307", 19),
        ("overrides: {nobody: [x]}", "E314", 13),
        ("overrides: {banner: x}", "E301", 21),
        ("audience: {all: [{country: {inn: [ES]}}]}", "E203", 29),
        ("audience: {audience: nobody}", "E207", 22),
        ("audience: 5", "E201", 11),
    ],
)
def test_a_wrong_line_is_told_with_line_column_and_code(line: str, code: str, column: int) -> None:
    assert places(f"{SHORT}{line}\n", m=METRICS) == [(code, 4, column)]


@pytest.mark.parametrize(
    ("variants", "code"),
    [
        ("{control: 1}", "E311"),
        ("{control: {weight: 50, value: 1}, b: {weight: 60, value: 2}}", "E310"),
        ("{control: {weight: 50, value: 1}, b: {value: 2}}", "E315"),
        ("{b: 1, control: 2}", "E316"),
        ("{control: 1, default: 2}", "E312"),
        ("{control: 1, b: two}", "E313"),
        ("{control: 1, B: 2}", "E304"),
        ("{control: {weight: 50, value: 1, colour: red}, b: {weight: 50, value: 2}}", "E102"),
        ("[control, b]", "E301"),
    ],
)
def test_wrong_variants_are_told(variants: str, code: str) -> None:
    found = places(f"experiment: x\nmetrics: {{primary: purchase}}\nvariants: {variants}\n", m=METRICS)

    assert [(c, line) for c, line, _column in found] == [(code, 3)]


@pytest.mark.parametrize(
    ("metric", "code"),
    [
        ("{kind: conversion, event: x}", "E302"),
        ("{kind: mean, event: x, window: 7d}", "E330"),
        ("{kind: ratio, event: x, window: 7d}", "E334"),
        ("{kind: conversion, event: x, window: 7d, cap: 5}", "E333"),
        ("{kind: count, event: x, window: 7d, cap: 0}", "E332"),
        ("{kind: conversion, event: x, window: 0d}", "E331"),
        ("{kind: conversion, event: x, window: 12:30:00}", "E306"),
        ("5", "E301"),
    ],
)
def test_wrong_metrics_are_told(metric: str, code: str) -> None:
    assert [c for c, _line, _column in places(f"metrics:\n  m: {metric}\n")] == [code]


def test_all_errors_of_all_files_come_in_one_run_in_order() -> None:
    found = findings(
        SHORT.replace("purchase", "purchse") + "tags: x\nallocation: 0.5\n",
        b="experiment: b\nvariants: {control: 1, t: 2}\naudience: {all: [{x: {gtt: 1}}, {y: {inn: [1]}}]}\n",
        c="a:\n\tb: 1\n",
        m=METRICS + "  m: {kind: mean, event: x, window: 7d}\n",
    )

    assert [(f.path, f.code) for f in found] == [
        ("c.yaml", "E104"),
        ("a.yaml", "E401"),
        ("a.yaml", "E190"),
        ("a.yaml", "E305"),
        ("b.yaml", "E302"),
        ("b.yaml", "E203"),
        ("b.yaml", "E203"),
        ("m.yaml", "E330"),
    ]


def test_an_error_shows_the_line_a_caret_and_a_suggestion() -> None:
    (found,) = findings(SHORT.replace("purchase", "purchse"), m=METRICS)

    assert found.text() == (
        "a.yaml:3:20  error E401  unknown metric 'purchse'\n"
        "    3 | metrics: {primary: purchse}\n"
        "      |                    ^^^^^^^ did you mean 'purchase'?"
    )


def test_the_caret_stands_under_wide_letters_and_long_lines() -> None:
    (wide,) = findings(SHORT + 'owner: "日本語"\nhypothesis: {statement: "日本", bas: 1}\n', m=METRICS)
    (long_line,) = findings(SHORT + f"hypothesis: {{statement: {'x' * 300}, bas: 1}}\n", m=METRICS)

    code, caret = wide.excerpt.splitlines()
    assert caret.index("^^^") == code.index("bas") + 2
    code, caret = long_line.excerpt.splitlines()
    assert code[caret.index("^") : caret.rindex("^") + 1] == "bas"


def test_github_annotations_escape_what_would_break_them() -> None:
    (found,) = findings(SHORT + "allocation: 101%\n", m=METRICS)

    assert found.github().startswith("::error file=a.yaml,line=4,col=13::E305 ")
    assert "101%25" in found.github()


def test_the_same_key_in_two_files_names_both() -> None:
    (one,) = findings(SHORT, b=SHORT, m=METRICS)
    (two,) = findings(SHORT, b="flags:\n  banner: {}\n", m=METRICS)

    assert (one.path, one.line, one.code) == ("b.yaml", 1, "E405")
    assert "a.yaml:1:1" in one.message
    assert (two.path, two.line, two.column, two.code) == ("b.yaml", 2, 3, "E405")


def test_audiences_in_a_circle_are_told_once() -> None:
    text = (
        "audiences:\n  a: {audience: b}\n  b: {not: {audience: c}}\n"
        "  c: {any: [{audience: a}, {x: 1}]}\n  d: {audience: a}\n"
    )

    assert places(text) == [("E208", 2, 3)]


def test_unknown_recommenders_and_placements_are_told() -> None:
    text = (
        "recommenders: {discovery: {hide: [A], only: [A]}}\n"
        "placements: {home: {recommender: discover, slots: 0}}\n"
    )

    assert [code for code, _line, _column in places(text)] == ["E350", "E404", "E308"]


def test_a_name_defined_in_a_broken_file_is_not_called_unknown() -> None:
    found = findings(SHORT, m=METRICS + "\tbroken")

    assert [(f.path, f.code) for f in found] == [("m.yaml", "E104")]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("offer: tea\n", "E190"),
        ("calendars: {}\n", "E190"),
        ("metrcs: {}\n", "E102"),
        ("metrics: []\n", "E301"),
        ("", "E105"),
    ],
)
def test_a_file_that_defines_nothing_usable_is_told(text: str, code: str) -> None:
    assert [c for c, _line, _column in places(text)] == [code]


@pytest.mark.parametrize(
    "name", ["../a.yaml", "/a.yaml", "a.txt", ".a.yaml", "x/.git/a.yaml", "a\n.yaml", "a/../b.yaml"]
)
def test_a_name_that_leaves_the_folder_is_refused(name: str) -> None:
    with pytest.raises(CatalogError) as caught:
        load({name: METRICS})

    assert [f.code for f in caught.value.findings] == ["E109"]


def test_nothing_at_all_is_an_empty_catalog() -> None:
    loaded = load({})

    assert not loaded.catalog.experiments
    assert not loaded.placements


def test_the_digest_follows_every_letter_and_nothing_else() -> None:
    assert load({"a.yaml": METRICS}).digest == load({"a.yaml": METRICS}).digest
    assert load({"a.yaml": METRICS}).digest != load({"b.yaml": METRICS}).digest
    assert load({"a.yaml": METRICS}).digest != load({"a.yaml": METRICS + "# x\n"}).digest


def test_a_folder_is_read_without_hidden_and_foreign_files(tmp_path: Path) -> None:
    (tmp_path / "sub" / ".git").mkdir(parents=True)
    for name in ("m.yaml", "sub/e.yml", "sub/.git/x.yaml", ".hidden.yaml", "README.md"):
        (tmp_path / name).write_text(METRICS, "utf-8")
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbfmetrics: {}\n")
    (tmp_path / "latin.yaml").write_bytes(b"metrics: {}\nlabel: caf\xe9\n")

    files = read_folder(tmp_path)

    assert list(files) == ["bom.yaml", "latin.yaml", "m.yaml", "sub/e.yml"]
    assert files["bom.yaml"] == "metrics: {}\n"
    with pytest.raises(CatalogError) as caught:
        load({"latin.yaml": files["latin.yaml"]})
    assert [(f.code, f.line, f.column) for f in caught.value.findings] == [("E104", 2, 11)]
    json.dumps([f.members() for f in caught.value.findings])


def test_a_missing_folder_and_a_huge_file_are_told(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="E100"):
        read_folder(tmp_path / "nowhere")
    (tmp_path / "huge.yaml").write_text("metrics: {}\n" + "# x\n" * 100_000, "utf-8")
    with pytest.raises(CatalogError, match="E106"):
        load(read_folder(tmp_path))


def test_the_demo_catalog_holds_what_the_tour_shows() -> None:
    loaded = load(read_folder(DEMO_CATALOG))

    assert set(loaded.catalog.experiments) == {"free-shipping", "picks-for-you"}
    assert set(loaded.placements) == {"home", "reorder"}
    picks = loaded.catalog.experiments["picks-for-you"]
    assert {v.value for v in picks.variants} <= set(loaded.recommenders)
    compiled = compile_catalog(loaded.catalog)
    answer = compiled.assign(
        "free-shipping", {"anonymous_id": "somebody"}, now=datetime(2027, 1, 1, tzinfo=UTC)
    )
    assert answer.enrolled


def test_every_code_that_is_said_is_promised_and_documented() -> None:
    sources = [*(REPOSITORY / "service" / "catalog").glob("*.py"), *(REPOSITORY / "experiments").glob("*.py")]
    said = {
        code
        for source in [*sources, REPOSITORY / "service" / "use_cases" / "launch.py"]
        for code in re.findall(r"\"(E[1-5]\d\d)\"", source.read_text("utf-8"))
        if source.name != "codes.py"
    }
    documented = set(
        re.findall(r"^\| (E\d+) \|", (REPOSITORY / "docs" / "catalog.md").read_text("utf-8"), re.MULTILINE)
    )

    assert said <= set(CODES)
    assert documented == set(CODES)


@settings(max_examples=200, deadline=None)
@given(
    base=st.sampled_from([SHORT, LONG, METRICS, MORE_METRICS]),
    cut=st.integers(0, 600),
    length=st.integers(0, 12),
    put=st.text(alphabet="ab1 :{}[],'\"%#\n-.0", max_size=8),
)
def test_a_damaged_file_is_refused_or_read_and_never_crashes(
    base: str, cut: int, length: int, put: str
) -> None:
    damaged = base[:cut] + put + base[cut + length :]

    found: tuple[Finding, ...] = ()
    try:
        load({"a.yaml": damaged, "m.yaml": METRICS})
    except CatalogError as error:
        found = error.findings
        event("refused")

    assert all(f.code in CODES and f.line >= 1 and f.column >= 1 for f in found)


def test_a_flood_of_errors_ends_with_how_many_there_are() -> None:
    flood = "analysis: {" + ", ".join(f"k{i}: 1" for i in range(3_000)) + "}\n"

    found = findings(SHORT + flood, m=METRICS)

    assert len(found) == 1_001
    assert found[-1].code == "E199"
    assert "2,000 more" in found[-1].message


def test_a_chain_of_audiences_is_bounded_so_that_every_worker_can_compile_it() -> None:
    def chain(n: int) -> str:
        links = (f"  a{i}: {{audience: a{i + 1}}}\n" for i in range(n - 1))
        return (
            "audiences:\n"
            + "".join(links)
            + f"  a{n - 1}: {{x: 1}}\nflags: {{f: {{audience: {{audience: a0}}}}}}\n"
        )

    assert "f" in compile_catalog(load({"a.yaml": chain(32)}).catalog).keys
    assert places(chain(33)) == [("E209", 2, 3)]
    assert places(chain(5_000)) == [("E209", 5_000 - 33 + 2, 3)]


def test_audiences_that_name_others_twice_are_bounded_so_that_every_worker_can_compile_them() -> None:
    def doubling(n: int) -> str:
        links = (f"  a{i}: {{any: [{{audience: a{i + 1}}}, {{audience: a{i + 1}}}]}}\n" for i in range(n - 1))
        return "audiences:\n" + "".join(links) + f"  a{n - 1}: {{x: 1}}\n"

    flag = "flags: {f: {audience: {all: [{audience: a0}, {audience: a0}]}}}\n"

    assert "f" in compile_catalog(load({"a.yaml": doubling(12) + flag}).catalog).keys
    assert places(doubling(13) + flag) == [("E209", 15, 13)]
    assert places(doubling(31) + flag) == [("E209", 31 - 14 + 2, 3)]
