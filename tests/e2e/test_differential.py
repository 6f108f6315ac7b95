"""The same person gets the same variant through every door: random catalogs, random people, 0 differences."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from experiments.growthbook.payload import payload
from service.clock import utc_now
from service.storage.sql import open_store
from service.use_cases.snapshot import SnapshotHolder
from tests import agreement
from tests.agreement import MISSING, alike, compare, compare_catalogs, make_live, of_ofrep, wire_form
from tests.differential import people
from tests.server import Server, running_server, until, write_catalog

pytestmark = pytest.mark.e2e

BULK = "/ofrep/v1/evaluate/flags"
EVERY_WAY = {
    "enrolled",
    "in_allocation",
    "static",
    "targeting_match",
    "override",
    "not_running",
    "prerequisite",
    "not_in_audience",
    "no_unit",
    "holdout",
    "not_in_layer",
    "not_in_allocation",
    "shipped",
    MISSING,
}


def test_200_000_people_get_the_same_from_engine_ofrep_and_both_growthbook_sdks() -> None:
    found = compare(200_000)

    assert found.differences == []
    assert found.triples >= 200_000
    assert found.decisions >= 5 * found.triples
    assert found.hidden < found.decisions / 100
    assert set(found.seen) == EVERY_WAY
    print(found.told())


def test_another_hash_in_the_payload_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def by_another_hash(*args: Any, **kwargs: Any) -> dict[str, Any]:
        made = json.dumps(payload(*args, **kwargs))
        changed: dict[str, Any] = json.loads(made.replace('"hashVersion": 2', '"hashVersion": 1'))
        return changed

    monkeypatch.setattr(agreement, "payload", by_another_hash)

    found = compare_catalogs(range(4)).differences

    assert any(", Python " in one for one in found)
    assert any(", JavaScript " in one for one in found)
    assert not any(", OFREP " in one for one in found)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("differential")
    with running_server(home / "home", write_catalog(home / "catalog")) as running:
        yield running


@pytest.mark.parametrize("seed", range(900_000, 900_004))
def test_the_real_server_answers_as_the_engine(server: Server, seed: int) -> None:
    store = open_store(server.settings)
    try:
        live = store.live_state().revision
        make_live(store, seed)
        holder = SnapshotHolder(store)
        holder.refresh()
    finally:
        store.close()
    compiled = holder.current.compiled

    def answer(who: dict[str, Any]) -> Any:
        return server.post(BULK, {"context": who}).json()

    # Both workers have seen it when none of many answers is of an older revision.
    until(lambda: all(answer({})["metadata"]["version"] == str(live + 1) for _ in range(30)))
    for who in people(seed, 100):
        expected = [wire_form(one) for one in compiled.assign_all(who, now=utc_now())]
        found = [of_ofrep(one, key) for one, key in zip(answer(who)["flags"], compiled.keys, strict=True)]

        assert alike(found, expected), who


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (2, 2.0, True),
        (1, True, False),
        ([1, {"a": 2}], [1.0, {"a": 2.0}], True),
        ({"a": 1}, {"a": True}, False),
    ],
)
def test_values_are_the_same_when_json_cannot_tell_them_apart(one: Any, other: Any, same: bool) -> None:
    assert alike(one, other) is same
