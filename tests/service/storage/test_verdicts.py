from datetime import timedelta

from service.storage.ports import Store
from service.storage.records import VerdictSnapshot
from tests.service.storage.facts import NOW

MIDNIGHT = NOW.replace(hour=0, minute=0, second=0, microsecond=0)


def put(store: Store, hours: float, decision: str, *, outline: str = "{}", final: bool = False) -> str:
    snapshot = VerdictSnapshot(
        experiment="x",
        phase=1,
        revision=3,
        log_offset=7,
        as_of=MIDNIGHT + timedelta(hours=hours),
        computed_at=NOW,
        digest="d",
        body=f'{{"decision":"{decision}"}}',
        inputs='{"version":"1"}',
        final=final,
        outline=outline,
    )
    return f"x.1.{store.put_verdict(snapshot)}"


def test_a_snapshot_comes_back_with_what_went_in_and_whether_it_is_final(store: Store) -> None:
    put(store, 1, "ship", outline='{"a":1}', final=True)

    found = store.verdict("x", 1, 1)

    assert found is not None
    assert (found.inputs, found.final, found.outline) == ('{"version":"1"}', True, '{"a":1}')


def test_the_turns_are_the_last_of_each_day_and_every_change_of_the_decision(store: Store) -> None:
    first = put(store, 1, "keep_running")
    put(store, 2, "keep_running")
    last_of_day = put(store, 23, "keep_running")
    put(store, 25, "keep_running")
    changed = put(store, 26, "ship")
    newest = put(store, 27, "ship")

    assert [row.id for row in store.verdict_turns("x", 1, 9)] == [first, last_of_day, changed, newest]
    assert [row.id for row in store.verdict_turns("x", 1, 2)] == [changed, newest]
    assert store.verdict_turns("x", 2, 9) == []


def test_an_outline_has_no_body_unless_no_outline_was_kept(store: Store) -> None:
    put(store, 1, "ship", outline="{}")
    with_outline = store.verdict_outlines("x", 1, 9)[0]

    assert (with_outline.outline, with_outline.decision, with_outline.revision) == ("{}", "ship", 3)
    assert [row.number for row in store.verdict_outlines("x", 1, 9)] == [1]
