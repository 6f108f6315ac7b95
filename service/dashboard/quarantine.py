"""The quarantine on pages: counts for analysts; events, judging again and deleting for administrators."""

from typing import Any

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from service.dashboard.frame import (
    ASK_FOR_ADMIN,
    administrators_only,
    form_token,
    readers_only,
    services,
    visitor,
)
from service.dashboard.sentences import pieces
from service.errors import ProblemError
from service.log import logger
from service.storage.records import HeldEvent, KeyClass
from service.use_cases.quarantine import (
    ACCEPTED,
    DUPLICATE,
    REFUSED,
    Asked,
    Place,
    Replay,
    Report,
    begin_with,
    drop_reason,
    place_text,
    read_place,
)
from service.use_cases.quarantine_reasons import check_reason, words_of
from service.use_cases.verdicts import when

bp = Blueprint("quarantine", __name__, url_prefix="/quarantine")

LISTED = 50
AT_ONCE = 1_000
DROPPED_AT_ONCE = 10_000
NAME_SHOWN = 12
BEFORE_LAUNCH = frozenset({"unknown_experiment", "not_running"})
"""Reasons that a catalog which came late may have; of these the page asks whether the experiment did run."""
BECAME = {
    ACCEPTED: "stored",
    DUPLICATE: "stored already",
    REFUSED: "not stored: its person does not agree to it",
}


@bp.get("")
@readers_only
def overview() -> ResponseReturnValue:
    """Count events by reason and, for an administrator, list the newest."""
    store = services().store
    admin = visitor() is KeyClass.ADMIN
    reason, after = request.args.get("reason", ""), _place(request.args.get("after", ""))
    known = store.quarantine_reasons()
    missed = _missed(reason)
    if missed:
        reason = ""
    found = store.quarantined(reason=reason, after=after, limit=LISTED) if admin else []
    last = found[-1] if len(found) == LISTED else None
    return render_template(
        "quarantine.html",
        reasons=[
            {"reason": r.reason, "n": r.n, "last": when(r.last_at), **_words(r.reason)}
            for r in sorted(known, key=lambda r: -r.n)
        ],
        total=sum(one.n for one in known),
        events=[_line(one) for one in found],
        admin=admin,
        ask_for_admin=pieces(ASK_FOR_ADMIN),
        reason=reason,
        missed=missed,
        older=place_text((last.held.received_at, last.digest)) if last else "",
        first_page=after is None,
        **_form(),
    )


@bp.get("/<event>")
@administrators_only
def one_event(event: str) -> ResponseReturnValue:
    """Show one event as it was sent, and what helps."""
    one = _find(event)
    held = one.held
    return render_template(
        "quarantine_event.html",
        event={**_line(one), **_words(held.reason)},
        facts=[
            ("event_id", held.event_id or "none that can be read"),
            ("came", held.received_at.isoformat(timespec="milliseconds")),
            ("through", f"{held.source}, with a {held.trust} key"),
            *(
                ("wishes" if name == "signals" else name.replace("_", " "), v)
                for name, v in held.context.items()
            ),
            ("name", one.digest),
        ],
        body=held.body,
        encoding=held.encoding,
        canonical=held.canonical if held.canonical != held.body else "",
        before_launch=held.reason in BEFORE_LAUNCH,
        **_form(),
    )


@bp.post("/replay")
@administrators_only
def replay() -> ResponseReturnValue:
    """Judge events again: first only to tell what would happen, then in earnest."""
    form, wired = request.form, services()
    asked = Asked(
        reason=_reason(),
        digests=[_find(form["event"]).digest] if form.get("event") else (),
        dry_run=form.get("step") != "do",
        before_launch=form.get("before_launch") == "yes",
    )
    again = Replay(wired.store, wired.exposures, wired.snapshots.current.loaded, asked)
    report, place = again.page(_place(form.get("after", "")), limit=AT_ONCE)
    if not asked.dry_run:
        report.record(by="page")
    return render_template(
        "quarantine_replay.html",
        report=report,
        rows=_rows(report),
        leave=report.judged - report.stay,
        changes=any(was != now for was, now in report.outcomes),
        asked=asked,
        what=_what(asked, report.judged, more=place is not None),
        event=asked.digests[0] if asked.digests else "",
        after=place_text(place) if place else "",
        asks_launch=bool(BEFORE_LAUNCH & {now for _, now in report.outcomes}),
        **_form(),
    )


@bp.post("/drop")
@administrators_only
def drop() -> ResponseReturnValue:
    """Delete events for good, once that was said twice."""
    store = services().store
    reason, digests = _reason(), [_find(request.form["event"]).digest] if request.form.get("event") else []
    if not reason and not digests:
        raise ProblemError(400, "bad_request", "Say which events are to be deleted.")
    n = len(digests) or store.quarantine_counts().get(reason, 0)
    sure = request.form.get("step") == "do"
    if sure:
        n = store.drop_quarantined(digests) if digests else drop_reason(store, reason, limit=DROPPED_AT_ONCE)
        logger().info("quarantine_dropped", by="page", reason=reason, events=n)
    return render_template(
        "quarantine_drop.html",
        n=n,
        sure=sure,
        left=store.quarantine_counts().get(reason, 0) if sure else 0,
        what=_what(Asked(reason=reason, digests=digests), n),
        reason=reason,
        event=digests[0] if digests else "",
        **_form(),
    )


def _find(event: str) -> HeldEvent:
    found = begin_with(services().store, event)
    if len(found) != 1:
        raise ProblemError(404, "not_found", "No event in quarantine has that name; it may have left since.")
    return found[0]


def _reason() -> str:
    """Return the reason a form names; one that nothing is held for is none of ours."""
    reason = request.form.get("reason", "")
    if reason and reason not in services().store.quarantine_counts():
        raise ProblemError(404, "not_found", "No event is in quarantine for that reason any more.")
    return reason


def _missed(reason: str) -> str:
    """Return why a list of `reason` would be empty: it is misspelt, or nothing is held for it."""
    store = services().store
    if not reason or reason in store.quarantine_counts():
        return ""
    try:
        check_reason(store, reason)
    except ValueError as error:
        return str(error)
    return f"no event is in quarantine for '{reason}'"


def _place(text: str) -> Place | None:
    try:
        return read_place(text) if text else None
    except ValueError as error:
        raise ProblemError(404, "not_found", "There is no such page of the list.") from error


def _line(one: HeldEvent) -> dict[str, str]:
    held = one.held
    return {
        "event": one.digest,
        "name": one.digest[:NAME_SHOWN],
        "event_id": held.event_id,
        "reason": held.reason,
        "detail": held.detail,
        "came": when(held.received_at),
        "through": f"{held.source}, {held.trust}",
    }


def _words(reason: str) -> dict[str, Any]:
    words = words_of(reason)
    return {"meaning": words.meaning, "help": pieces(words.help)}


def _rows(report: Report) -> list[dict[str, Any]]:
    return [
        {
            "was": was,
            "now": BECAME.get(now, "stays" if was == now else f"stays, now for {now}"),
            "good": now in BECAME,
            "n": n,
            "why": report.why[was, now],
        }
        for (was, now), n in sorted(report.outcomes.items())
    ]


def _what(asked: Asked, n: int, *, more: bool = False) -> str:
    """Say which events are meant: at the beginning of a sentence."""
    if asked.digests:
        return f"The event {asked.digests[0][:NAME_SHOWN]}"
    events = f"{'The next ' if more else ''}{n:,} {'event' if n == 1 else 'events'}"
    return f"{events} held for {asked.reason}" if asked.reason else events


def _form() -> dict[str, str]:
    return {"form_token": form_token()}
