"""A shop whose audiences ask what people did, and the pass that finds out."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from experiments.membership import Membership
from service.lake import export_all
from service.storage.ports import Store
from service.storage.records import Event
from service.use_cases.audiences import MembersFile
from service.use_cases.audiences_pass import AudienceKeeper
from tests.service.use_cases.shops import FILES, START, settings_in

NOW = START + timedelta(days=30)
AUDIENCES = """\
audiences:
  tea_fans: {behaviour: {event: Product Viewed, where: {category: tea}, count: {gte: 3}}}
  newcomers: {behaviour: {event: Order Completed, count: {lt: 1}}}
  recent: {behaviour: {event: Order Completed, last: {within: 7d}}}
"""
TEA = {
    **FILES,
    "audiences.yaml": AUDIENCES,
    "experiments/free-shipping.yaml": FILES["experiments/free-shipping.yaml"]
    + "audience: {audience: newcomers}\n",
    "flags/tea.yaml": "flag: tea\naudience: {audience: tea_fans}\n",
}


def tea(person: str, *, n: int = 3, **ids: Any) -> list[Event]:
    return [
        Event(
            event_id=f"t-{person}-{i}",
            type="Product Viewed",
            occurred_at=START,
            properties={"category": "tea"},
            **(ids or {"anonymous_id": person}),
        )
        for i in range(n)
    ]


def look(home: Path, store: Store, *, now: datetime = NOW) -> Membership:
    """Do one pass as a worker that has just started would, and open what it wrote."""
    export_all(store, home / "lake")
    AudienceKeeper(settings_in(home), store).look(now=now)
    return opened(home)


def opened(home: Path) -> Membership:
    file = MembersFile(home / "audiences")
    file.look()
    assert file.problem == ""
    return file.current
