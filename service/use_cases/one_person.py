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
    left = dict(enumerate(map(person_ids, events)))
    known = set(left.pop(0, ()))
    while joined := [place for place, ids in left.items() if not known.isdisjoint(ids)]:
        for place in joined:
            known.update(left.pop(place))
    return set(left)
