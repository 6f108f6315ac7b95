"""A client key speaks for one person at a time: which events of one request are about somebody else."""

from collections.abc import Sequence

from service.storage.records import Event, person_ids


def about_others(events: Sequence[Event]) -> set[int]:
    """Return the places of the events that share no id with the first one, directly or through others.

    Examples
    --------
    >>> from service.clock import EPOCH
    >>> def seen(**ids: str) -> Event:
    ...     return Event(event_id="e", type="t", occurred_at=EPOCH, **ids)
    >>> about_others([seen(anonymous_id="a1"), seen(user_id="u1"), seen(anonymous_id="a1", user_id="u1")])
    set()
    >>> about_others([seen(anonymous_id="a1"), seen(anonymous_id="a2")])
    {1}
    """
    if not events:
        return set()
    known = set(person_ids(events[0]))
    others = {place: ids for place, event in enumerate(events) if known.isdisjoint(ids := person_ids(event))}
    if not others:
        # One pass is enough for nearly every request: its events carry the same id.
        return set()
    for event in events:
        ids = person_ids(event)
        if not known.isdisjoint(ids):
            known.update(ids)
    return _left_over(others, known)


def _left_over(others: dict[int, tuple[str, ...]], known: set[str]) -> set[int]:
    """Return those that no chain of shared ids leads to from `known`."""
    left = dict(others)
    while joined := [place for place, ids in left.items() if not known.isdisjoint(ids)]:
        for place in joined:
            known.update(left.pop(place))
    return set(left)
