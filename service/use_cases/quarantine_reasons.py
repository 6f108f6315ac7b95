"""Why events are in quarantine, in words: what happened, and what helps."""

from collections.abc import Mapping
from typing import NamedTuple

from service.catalog.findings import did_you_mean
from service.storage.ports import Store


class Words(NamedTuple):
    """A reason for people; `help` says what to do before events of it are judged again, or why not to."""

    meaning: str
    help: str


_CLIENT = "Mend the page or the program that sends it. Judged again it stays what it is."

REASONS: Mapping[str, Words] = {
    "malformed": Words("it is no acceptable JSON, so nobody can say what it meant", _CLIENT),
    "invalid_event": Words("a member is missing, unknown or malformed", _CLIENT),
    "too_large": Words("it has more than 32 KiB", _CLIENT),
    "event_id_conflict": Words(
        "another event is stored under its event_id", "Give every event an id of its own where it is made."
    ),
    "too_old": Words(
        "it is dated further back than its key may date events",
        "Send it with a server key or as an import, which may reach back 400 days.",
    ),
    "in_future": Words(
        "it is dated more than 5 minutes ahead", "Look at the clock of the machine that sends it."
    ),
    "bot": Words("its User-Agent is that of a crawler", "Nothing: crawlers are no visitors."),
    "other_person": Words(
        "with a client key, its request was about somebody else",
        "Send events of several people with a server key. If you know where it comes from, replay it by this "
        "reason or by its own digest: that vouches for it.",
    ),
    "revenue_not_allowed": Words(
        "it holds money and came with a client key, which is public",
        "Send orders with a server key; or say `client_revenue: allow` in the catalog's `data` and replay.",
    ),
    "unknown_experiment": Words(
        "no experiment of its key was live",
        "If the catalog was late, apply it and replay, saying that the experiment did run before the launch. "
        "Else look for a misspelt key.",
    ),
    "unknown_revision": Words(
        "there is no catalog revision of the number it names, or this release cannot read it",
        "Was a backup restored? Then apply the catalog again and let pages reload.",
    ),
    "stale_revision": Words(
        "the catalog revision it names was replaced more than 30 days ago",
        "Let long-lived clients fetch flags again; such an event is not analysed.",
    ),
    "not_running": Words(
        "the experiment was a draft, or the exposure is dated before the launch",
        "Start the experiment. If it did run by then and only the catalog was late, replay and say so.",
    ),
    "experiment_stopped": Words(
        "the exposure is dated after the experiment was stopped, or one variant was shipped to everybody",
        "Take the experiment out of the page; what was seen later is not analysed.",
    ),
    "phase_mismatch": Words(
        "it names another phase of the experiment", "Nothing: it belongs to no phase that is analysed."
    ),
    "unit_mismatch": Words(
        "the experiment randomizes another unit, or unit_id is not the event's own id",
        "Send the id that the variant was chosen with.",
    ),
    "override": Words(
        "the variant was forced for somebody who looks at it", "Nothing: it is never analysed."
    ),
    "not_enrolled": Words(
        "the unit is outside the experiment",
        "Send exposures only for variants that the service gave. Was the allocation widened? Replay.",
    ),
    "variant_mismatch": Words(
        "it names a variant that the unit does not have",
        "Evaluate and report with the same id; two services with different salts look like this.",
    ),
}


def words_of(reason: str) -> Words:
    """Return the words of a reason; of one that this release does not know, the reason itself."""
    return REASONS.get(reason, Words(reason.replace("_", " "), "This release knows nothing more about it."))


def check_reason(store: Store, reason: str) -> None:
    """Refuse a reason that there is not; one of another release that events are held for is good.

    Raises
    ------
    ValueError
        If no event can be held for it; the message tells which reasons there are.
    """
    if reason and reason not in REASONS and reason not in store.quarantine_counts():
        hint = did_you_mean(reason, REASONS) or f"there are: {', '.join(sorted(REASONS))}"
        raise ValueError(f"there is no reason '{reason}'; {hint}")
