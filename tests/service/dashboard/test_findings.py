import json
from dataclasses import replace
from pathlib import Path

import pytest

from service.app import build_services, create_app, shut_down
from service.cli.setup import new_sign_in_link
from service.clock import utc_now
from service.dashboard.findings import findings_of
from service.use_cases.judge import refresh_verdicts
from service.use_cases.verdict_exports import to_markdown
from service.use_cases.verdicts import body_of
from tests.service.use_cases.shops import KEY, a_store, a_week, launched, settings_in, shown

ALARM = {
    "check": "srm_sources",
    "state": "alarm",
    "detail": "The split is not as planned in `<b>app</b>`.",
    "advice": "Look at `<i>`.",
}
WARNING = {"check": "bots", "state": "warning", "detail": "Many crawlers.", "advice": "Keep them off."}
FINE = {"check": "srm", "state": "ok", "detail": "As planned."}  # of a release that gave no advice
OPEN = {"check": "from_tomorrow", "state": "not_yet_known", "detail": "Wait.", "advice": ""}


def test_alarms_come_before_warnings_and_the_rest_is_folded() -> None:
    found = findings_of([FINE, WARNING, OPEN, ALARM])

    assert [check.name for check in found.troubled] == ["Split in each source", "Crawlers"]
    assert [check.name for check in found.calm] == ["Split between variants", "from_tomorrow"]
    assert found.summary == "1 of 4 checks found nothing, 1 cannot tell yet"


@pytest.mark.parametrize(
    ("found", "summary"), [([FINE], "1 of 1 checks found nothing"), ([], "0 of 0 checks")]
)
def test_nothing_is_said_of_open_checks_where_there_are_none(
    found: list[dict[str, str]], summary: str
) -> None:
    assert findings_of(found).summary.startswith(summary)
    assert "yet" not in findings_of(found).summary


def test_the_page_and_the_markdown_say_what_to_do(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with a_store(home) as store:
        launched(store)
        shown(store, home / "lake", a_week(per_day=20))
        refresh_verdicts(store, home / "lake", now=utc_now())
        snapshot = store.latest_verdict(KEY)
        assert snapshot is not None
        body = {**body_of(snapshot), "checks": [FINE, WARNING, ALARM], "rule": "srm_sources"}
        body["decision"], body["metrics"][1]["state"] = "untrustworthy", "better"
        body["warnings"] = ["bots", "uncapped_mean:revenue"]
        store.put_verdict(replace(snapshot, body=json.dumps(body), digest="f" * 64, computed_at=utc_now()))
    services = build_services(settings_in(home))
    browser = create_app(services).test_client()
    browser.post(new_sign_in_link(settings_in(home), ""))

    page = browser.get(f"/experiments/{KEY}").text
    shut_down(services)

    assert "not as planned in <code>&lt;b&gt;app&lt;/b&gt;</code>." in page
    assert "<b>What to do:</b> Look at <code>&lt;i&gt;</code>." in page
    assert "Rule that fired: check: Split in each source." in page
    assert page.index("Split in each source: alarm.") < page.index("Crawlers: look at this.")
    assert page.index("1 of 3 checks found nothing") < page.index("Split between variants: fine.")
    assert page.count("Crawlers") == 1
    folded = page.index("<details><summary>Numbers that must not be read as a result</summary>")
    assert folded < page.index("Primary metric: ") < page.index('<svg class="chart"')
    assert '<span class="state not_read">not read</span>' in page
    assert 'class="state better"' not in page
    assert "lift known to within" not in page
    assert "uncapped mean: revenue" in page
    assert "* check bots: warning. Many crawlers. Keep them off.\n" in to_markdown(body)
    assert "* check srm: ok. As planned.\n" in to_markdown(body)
