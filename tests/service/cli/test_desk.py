"""The marketer's desk, on a real store and real files."""

import json
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from service.cli.desk import commands
from service.cli.main import cli
from service.settings import Settings, load
from service.storage.migrate import migrate
from service.storage.ports import IngestBatch, Store
from service.storage.records import Event, ReceivedEvent
from service.storage.sql import open_store

NOW = datetime(2027, 1, 10, tzinfo=UTC)
METRICS = "metrics:\n  purchase: {kind: conversion, event: Order Completed, window: 7d}\n"
BANNER = """\
experiment: banner          # comment one
status: running
allocation: 50%             # comment two
variants:
  control: {weight: 50, value: ""}
  banner: {weight: 50, value: Free}
metrics: {primary: purchase}
"""


@dataclass(frozen=True)
class Desk:
    folder: Path
    settings: Settings
    store: Store

    def run(self, *arguments: str, code: int = 0) -> str:
        command = next(c for c in commands if c.name == arguments[0])
        result: Result = CliRunner().invoke(command, list(arguments[1:]))
        assert result.exit_code == code, result.output
        return result.output

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")

    def read(self, name: str) -> str:
        return (self.folder / name).read_text("utf-8")

    def expose(self, units: list[str], *, phase: int = 1) -> None:
        events = [
            Event(
                event_id=f"e-{phase}-{unit}",
                type="Experiment Viewed",
                occurred_at=NOW,
                anonymous_id=unit,
                properties={"experiment_key": "banner", "unit_id": unit, "phase": phase},
            )
            for unit in units
        ]
        received = [ReceivedEvent(event=e, received_at=NOW, source="test", trust="server") for e in events]
        self.store.append(IngestBatch(events=received, interactions=[()] * len(received)))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setenv("OPPORTUNE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OPPORTUNE_CATALOG", str(tmp_path / "catalog"))
    settings = load()
    store = open_store(settings)
    made = Desk(folder=tmp_path / "catalog", settings=settings, store=store)
    yield made
    store.close()


@pytest.fixture
def live(desk: Desk) -> Desk:
    desk.write("metrics.yaml", METRICS)
    desk.write("experiments/banner.yaml", BANNER)
    desk.run("apply")
    return desk


def test_from_an_empty_folder_to_a_running_experiment(desk: Desk) -> None:
    assert "Next:" in desk.run("new", "experiment", "first")
    assert "2 files, no errors" in desk.run("lint")
    plan = desk.run("plan")
    assert "first revision" in plan
    assert "nobody takes part yet" in plan
    assert "To make it live: opportune apply" in plan

    desk.run("start", "first", "20%")

    status = json.loads(desk.run("status", "--format", "json"))
    assert status["revision"] == 1
    assert [(d["key"], d["status"], d["allocation"]) for d in status["definitions"]] == [
        ("first", "running", 0.2)
    ]


def test_new_refuses_to_overwrite_a_file_and_to_repeat_a_key(desk: Desk) -> None:
    desk.run("new", "flag", "dark")
    before = desk.read("flags/dark.yaml")
    desk.write("experiments/other.yaml", "experiment: x\nvariants: {a: 1, b: 2}\nmetrics: {primary: m}\n")
    desk.write("metrics.yaml", METRICS.replace("purchase", "m"))

    assert "already defined" in desk.run("new", "experiment", "dark", code=1)
    assert "exists already" in desk.run("new", "experiment", "other", code=1)
    assert desk.read("flags/dark.yaml") == before
    desk.run("new", "experiment", "../../etc", code=2)
    desk.run("new", "page", "dark", code=2)


def test_lint_tells_every_error_in_every_format(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.write("metrics.yaml", METRICS)
    desk.write("a.yaml", BANNER.replace("50%", "150%").replace("purchase", "purchse"))

    text = desk.run("lint", code=1)
    members = json.loads(desk.run("lint", "--format", "json", code=1))
    monkeypatch.chdir(desk.folder.parent)
    github = desk.run("lint", "--format", "github", code=1)
    of_folder = desk.run("lint", "catalog", "--format", "github", code=1)

    assert "a.yaml:3:13  error E305" in text
    assert "2 files, 2 errors. Nothing was changed." in text
    assert [(f["line"], f["column"], f["code"]) for f in members["findings"]] == [
        (3, 13, "E305"),
        (7, 20, "E401"),
    ]
    assert github == of_folder
    assert github.count("::error file=catalog/a.yaml,") == 2
    desk.run("lint", "--format", "xml", code=2)


def test_an_error_in_one_file_changes_nothing_live(live: Desk) -> None:
    live.write("flags/dark.yaml", "flag: dark\nvalu: 1\n")
    live.write("experiments/banner.yaml", BANNER.replace("50%", "100%", 1))

    assert "E102" in live.run("apply", code=1)
    assert "E102" in live.run("ramp", "banner", "100%", code=1)

    assert live.store.live_state().revision == 1
    assert "PROBLEM: an error at flags/dark.yaml:2:1" in live.run("status")
    live.store.close()
    again = open_store(live.settings)
    stored = again.revision(again.live_state().revision)
    assert stored is not None
    assert dict(stored.files) == {"metrics.yaml": METRICS, "experiments/banner.yaml": BANNER}
    again.close()


def test_applying_the_same_folder_twice_makes_one_revision(live: Desk) -> None:
    assert "live already" in live.run("apply")
    assert "Nothing to do" in live.run("plan")
    assert live.store.live_state().revision == 1


def test_a_ramp_moves_nobody_and_the_plan_counts_it(live: Desk) -> None:
    live.expose([f"visitor-{i}" for i in range(400)])
    live.write("experiments/banner.yaml", BANNER.replace("50%", "100%", 1))

    plan = json.loads(live.run("plan", "--format", "json"))

    units = plan["units"]["banner"]
    assert units["source"] == "400 exposed units"
    assert units["move"] == units["leave"] == 0
    assert units["stay"] + units["join"] == 400
    assert "safe: of" in live.run("plan")


def test_moving_weights_is_unsafe_counted_and_refused(live: Desk) -> None:
    live.write(
        "experiments/banner.yaml",
        BANNER.replace('{weight: 50, value: ""', '{weight: 30, value: ""').replace(
            "{weight: 50", "{weight: 70"
        ),
    )

    plan = live.run("plan", code=1)
    applied = live.run("apply", code=1)

    assert "UNSAFE: of" in plan
    assert "100,000 synthetic units" in plan
    assert "new phase" in plan
    assert "experiments/banner.yaml:1:13  error E500" in applied
    assert live.store.live_state().revision == 1


def test_a_new_phase_lets_weights_change(live: Desk) -> None:
    live.write("experiments/banner.yaml", BANNER.replace("Free", "Now free"))
    assert "E500" in live.run("apply", code=1)

    done = live.run("start", "banner", "--new-phase")

    assert "phase: 2" in done
    assert live.store.live_state().revision == 2
    assert live.read("experiments/banner.yaml").splitlines()[0] == BANNER.splitlines()[0]


def test_ramp_edits_one_value_and_keeps_the_comments(live: Desk) -> None:
    live.run("ramp", "banner", "75%")

    assert live.read("experiments/banner.yaml") == BANNER.replace("50%", "75%", 1)
    stored = live.store.revision(2)
    assert stored is not None
    assert stored.applied_by == "cli banner"


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (("ramp", "banner", "20%"), 1, "take out people"),
        (("ramp", "banner", "50%"), 1, "already"),
        (("ramp", "banner", "150%"), 2, "0% to 100%"),
        (("ramp", "banner", "half"), 2, "percentage"),
        (("ramp", "banner", "half"), 2, "'half'"),
        (("ramp", "banner"), 2, "SHARE"),
        (("ramp", "baner", "60%"), 1, "did you mean 'banner'?"),
        (("start", "banner"), 1, "running already"),
        (("kill", "baner"), 1, "did you mean 'banner'?"),
        (("revive", "baner"), 1, "did you mean 'banner'?"),
    ],
)
def test_nonsense_is_refused_and_nothing_changes(
    live: Desk, arguments: tuple[str, ...], code: int, why: str
) -> None:
    assert why in live.run(*arguments, code=code)

    assert live.read("experiments/banner.yaml") == BANNER
    assert live.store.live_state().revision == 1
    assert not live.store.live_state().killed


def test_a_stopped_experiment_never_runs_again(live: Desk) -> None:
    live.run("stop", "banner")

    assert "status: stopped" in live.read("experiments/banner.yaml")
    assert "stopped already" in live.run("stop", "banner", code=1)
    assert "never used again" in live.run("start", "banner", code=1)
    assert "stopped" in live.run("ramp", "banner", "100%", code=1)
    live.write("experiments/banner.yaml", BANNER)
    assert "E500" in live.run("apply", code=1)


def test_a_key_that_was_removed_is_still_taken(live: Desk) -> None:
    live.run("stop", "banner")
    (live.folder / "experiments" / "banner.yaml").unlink()
    live.run("apply")

    live.write("experiments/again.yaml", BANNER)

    assert "never used again" in live.run("apply", code=1)


def test_a_running_experiment_cannot_vanish(live: Desk) -> None:
    (live.folder / "experiments" / "banner.yaml").unlink()
    assert "stop it before" in live.run("apply", code=1)
    (live.folder / "metrics.yaml").unlink()
    assert "E501" in live.run("apply", code=1)
    assert live.store.live_state().revision == 1


@pytest.mark.parametrize("name", ["experiments/banner.yaml", "moved.yaml"])
def test_a_running_experiment_whose_file_is_gone_is_stopped_from_the_live_revision(
    live: Desk, name: str
) -> None:
    live.write("more.yaml", "flag: dark\n")
    (live.folder / "experiments" / "banner.yaml").unlink()
    if name != "experiments/banner.yaml":
        live.write("experiments/banner.yaml", BANNER.replace("experiment: banner", "experiment: other", 1))

    said = live.run("apply", code=1)
    assert "experiments/banner.yaml:1:1  error E500" in said
    assert "opportune stop banner" in said
    assert "REFUSED: experiments/banner.yaml:1:1" in live.run("status")
    assert "opportune stop banner" in live.run("ramp", "banner", "80%", code=1)
    assert "running already" in live.run("start", "banner", code=1)

    assert "brought back" in live.run("stop", "banner")

    assert "in step with the live revision" in live.run("status")
    stopped = live.read("experiments/banner-2.yaml" if name == "moved.yaml" else name)
    assert stopped == BANNER.replace("status: running", "status: stopped")


def test_a_draft_of_a_live_key_does_not_hide_that_it_is_live(live: Desk) -> None:
    live.write("experiments/banner.yaml", BANNER.replace("running", "draft").replace("Free", "Free today"))

    assert "`opportune stop banner` ends it" in live.run("apply", code=1)
    live.run("stop", "banner")

    assert live.read("experiments/banner.yaml") == BANNER.replace("running", "stopped")


def test_commands_look_at_what_is_live_not_at_what_is_written(live: Desk) -> None:
    live.write("experiments/banner.yaml", BANNER.replace("running", "stopped").replace("50%", "75%", 1))

    assert "running already" in live.run("start", "banner", code=1)
    assert "Revision 2 is live" in live.run("stop", "banner")
    live.write("experiments/new.yaml", BANNER.replace("experiment: banner", "experiment: new"))
    assert "not live" in live.run("stop", "new", code=1)
    assert "Revision 3 is live" in live.run("start", "new")


def test_reviving_what_is_not_killed_says_so(live: Desk) -> None:
    assert "was not killed" in live.run("revive", "banner")


def test_what_starts_by_itself_is_told_before_and_after(desk: Desk) -> None:
    desk.write("metrics.yaml", METRICS)
    desk.write("x.yaml", 'experiment: x\nvariants: {control: "", b: Free}\nmetrics: {primary: purchase}\n')

    told = "x starts on 100% of its audience as soon as it is applied"
    assert f"note: x.yaml: no status: {told}" in desk.run("lint")
    assert f"CAREFUL: {told}" in desk.run("plan")
    assert "Running now: x on 100%." in desk.run("apply")


def test_quotes_of_a_word_processor_are_pointed_out(desk: Desk) -> None:
    desk.write("f.yaml", "flag: f\nstatus: draft\nvalue: \u201cBuy\u201d\notherwise: no\n")

    assert "note: f.yaml:3:8: the quotes of \u201cBuy\u201d are typographic" in desk.run("lint")
    assert "typographic" in desk.run("plan")


def test_looking_makes_no_home(desk: Desk) -> None:
    desk.write("metrics.yaml", METRICS)
    desk.write("experiments/banner.yaml", BANNER)

    for arguments in (["status"], ["stop", "banner"], ["kill", "banner"], ["verdict", "banner"], ["train"],
                      ["backup", "x.tar.gz"], ["delete-person", "--user-id", "a", "--yes"],
                      ["sign-in-link"], ["worker"]):  # fmt: skip
        result = CliRunner().invoke(cli, arguments)
        assert (result.exit_code, result.output) == (
            2,
            f"opportune: no data in {desk.settings.home}; set OPPORTUNE_HOME\n",
        ), arguments
    assert "holds no data yet" in desk.run("plan")

    assert not desk.settings.home.exists()


def test_a_home_is_for_its_owner_and_out_of_reach_of_git(live: Desk) -> None:
    assert stat.S_IMODE(live.settings.home.stat().st_mode) == 0o700
    assert (live.settings.home / ".gitignore").read_text("utf-8") == "*\n"


def test_a_draft_is_not_stopped_and_a_flag_may_shrink(live: Desk) -> None:
    live.run("new", "flag", "dark")
    live.write("flags.yaml", "flags:\n  light: {allocation: 80%}\n")

    assert "draft" in live.run("stop", "dark", code=1)
    assert "opportune start light" in live.run("ramp", "light", "10%", code=1)
    assert "Also live now" in live.run("start", "light", "60%")
    live.run("ramp", "light", "10%")
    assert live.read("flags.yaml") == "flags:\n  light: {status: running, allocation: 10%}\n"
    assert "no phases" in live.run("start", "dark", "--new-phase", code=1)


def test_kill_and_revive_are_stored_and_shown(live: Desk) -> None:
    assert "revive banner" in live.run("kill", "banner")
    live.run("kill", "*")
    assert live.store.live_state().killed == {"banner", "*"}
    assert "KILLED" in live.run("status")

    assert "Still killed: banner" in live.run("revive", "*")
    live.run("revive", "banner")

    assert not live.store.live_state().killed


def test_changing_the_judge_of_a_running_experiment_is_pointed_out(live: Desk) -> None:
    live.write("metrics.yaml", METRICS.replace("7d", "14d"))
    live.write("experiments/banner.yaml", BANNER + "analysis: {mde: 20% relative}\n")

    plan = live.run("plan")

    assert "CAREFUL: it judges what is running already: banner" in plan
    assert "CAREFUL: the verdict will follow a plan" in plan


def test_status_before_anything_says_the_next_step(desk: Desk) -> None:
    migrate(desk.settings.database_url)
    assert "no such folder" in desk.run("status")
    desk.folder.mkdir()
    assert "opportune new experiment" in desk.run("status")
    assert "Nothing to do" in desk.run("plan")
