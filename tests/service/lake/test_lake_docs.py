"""docs/lake.md: its script, run on the files of the lake, prints what the verdict says."""

import json
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from service.lake.manifest import SCHEMAS
from service.settings import REPOSITORY
from service.use_cases.judge import refresh_verdicts
from tests.service.use_cases.shops import (
    KEY,
    START,
    a_store,
    a_week,
    exposure,
    launched,
    order,
    shown,
)

PAGE = (REPOSITORY / "docs" / "lake.md").read_text("utf-8")
(SCRIPT,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_script_of_the_page_prints_the_estimates_of_the_verdict(tmp_path: Path) -> None:
    home = tmp_path / "data"
    with a_store(home) as store:
        launched(store)
        events = a_week(per_day=80)
        events.append(exposure("v0-1", "control", START + timedelta(hours=1), suffix="-other"))
        events.append(order("v1-2", START + timedelta(days=1, hours=2), revenue=712.5))
        events.append(order("v1-3", START + timedelta(days=1, hours=2), revenue=0.123457))
        shown(store, home / "lake", events)
        refresh_verdicts(store, home / "lake", now=START + timedelta(days=30))
        snapshot = store.latest_verdict(KEY)
        # What comes after a verdict is no part of it.
        shown(store, home / "lake", [order("v1-5", START + timedelta(days=1, hours=3), revenue=99)])
    assert snapshot is not None
    (tmp_path / "verdict.json").write_text(snapshot.body, "utf-8")

    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    printed = {tuple(line.split()[:2]): line.split()[2:] for line in ran.stdout.splitlines()}
    wanted = {
        (row["metric"], row["variant"]): [str(row["n"]), str(row["estimate"])]
        for row in json.loads(snapshot.body)["metrics"]
        if row["metric"] in ("purchase", "revenue")
    }
    assert len(wanted) == 4
    assert printed == wanted


def test_every_column_of_the_lake_is_explained() -> None:
    names = {name for schema in SCHEMAS.values() for name in schema.names}

    assert sorted(name for name in names if f"`{name}`" not in PAGE) == []
