from pathlib import Path

from experiments.decision import Rule
from experiments.states import MetricState
from experiments.verdict import Decision
from service.lake import export_all
from service.settings import REPOSITORY
from service.use_cases.judge import refresh_verdicts
from service.use_cases.verdicts import body_of
from tests.service.use_cases.shops import KEY, START, a_store, a_week, launched, put

PAGE = (REPOSITORY / "docs" / "verdicts.md").read_text("utf-8")


def test_every_member_of_a_verdict_is_explained(tmp_path: Path) -> None:
    with a_store(tmp_path / "home") as store:
        launched(store)
        put(store, *a_week(per_day=50))
        export_all(store, tmp_path / "lake")
        refresh_verdicts(store, tmp_path / "lake", now=START)
        snapshot = store.latest_verdict(KEY)
    assert snapshot is not None
    body = body_of(snapshot)

    parts = (body, body["exposure"], body["metrics"][0], body["forecast"], body["record"], body["digests"])
    names = {name for part in parts for name in part} | set(body["series"][0]["points"][0])

    assert sorted(name for name in names if f"`{name}`" not in PAGE) == []


def test_every_word_of_a_verdict_is_explained() -> None:
    words = [word.value for kind in (Decision, Rule, MetricState) for word in kind]

    assert [word for word in words if f"`{word}`" not in PAGE] == []
