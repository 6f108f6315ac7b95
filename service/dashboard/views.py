"""Sign in by a one-time link, list experiments, read a verdict."""

import re

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from service.dashboard import goals, peeking, quarantine
from service.dashboard import page as pages
from service.dashboard.decided import MOST, decided
from service.dashboard.frame import message, readers_only, refuse, services
from service.dashboard.sentences import pieces
from service.errors import ProblemError
from service.storage.ports import StoreUnavailableError
from service.use_cases import verdict_history, verdicts
from service.use_cases.heartbeat import last_beat
from service.use_cases.services import Services
from service.use_cases.sessions import COOKIE, SESSION_VALID, sign_in
from service.use_cases.verdict_words import headline

bp = Blueprint(
    "dashboard", __name__, template_folder="templates", static_folder="static", static_url_path="/assets"
)
bp.register_blueprint(quarantine.bp)
bp.register_blueprint(peeking.bp)
bp.register_blueprint(goals.bp)
bp.register_error_handler(ProblemError, refuse)

# Nothing but our own style sheet: an experiment's name or hypothesis can never become code.
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
SHOWN_TURNS = 200
PLAYS = "; script-src 'self'"
"""What the one page that moves may do besides: load our own file."""
_UNIT = re.compile(r"(?<=\d) (?=%|points|[A-Z]{3}\b)|(?<=±) ")


@bp.after_request
def protect(response: Response) -> Response:
    """Let a page load our style sheet and post to us, nothing else."""
    plays = request.endpoint == "dashboard.peeking.race"
    response.headers["Content-Security-Policy"] = POLICY + PLAYS * plays
    if request.endpoint == "dashboard.static":
        response.headers["Cache-Control"] = "public, max-age=300"
    return response


@bp.app_template_filter("thousands")
def thousands(n: int) -> str:
    """Group digits for people."""
    return f"{n:,}"


@bp.app_template_filter("unbroken")
def unbroken(text: str) -> str:
    """Keep a number and its unit on one line."""
    return _UNIT.sub("\u00a0", text)


@bp.errorhandler(StoreUnavailableError)
def wait(_error: StoreUnavailableError) -> ResponseReturnValue:
    """Say that the store is away."""
    text = "The database does not answer. Flags are still being served; reload this page in a moment."
    return message("The store cannot be reached", text), 503


@bp.get("/")
@readers_only
def home() -> ResponseReturnValue:
    """List every experiment of the live catalog with its newest decision."""
    wiring = services()
    live = wiring.snapshots.current
    found = verdicts.listing(live.loaded.catalog, live.state.killed, wiring.store, now=wiring.clock())
    return render_template(
        "list.html",
        experiments=found,
        words=pages.WORDS,
        pieces=pieces,
        headline=headline,
        revision=live.state.revision,
        problems=[problem for problem in (live.problem, _trouble(wiring)) if problem],
    )


@bp.get("/experiments/<key>")
@readers_only
def experiment(key: str) -> ResponseReturnValue:
    """Show the newest verdict of one experiment."""
    wiring = services()
    live = wiring.snapshots.current
    snapshot = verdicts.find(live.loaded.catalog, wiring.store, key)
    standing = verdicts.standing(live.loaded.catalog, live.state.killed, key, now=wiring.clock())
    turns = verdict_history.turns(wiring.store, key, snapshot.phase, limit=SHOWN_TURNS)
    one = live.loaded.catalog.experiments.get(key)
    ramp = one if one is not None and one.ramp and one.phase == snapshot.phase else None
    page = pages.page(
        snapshot,
        turns,
        standing=standing,
        trouble=_trouble(wiring),
        ramp_bp=ramp.share_at(wiring.clock()) if ramp else None,
    )
    decisions = decided(wiring.store.decisions(key, phase=snapshot.phase, limit=MOST))
    return render_template("verdict.html", page=page, key=key, decisions=decisions)


def _trouble(wiring: Services) -> str:
    heartbeat, revision = last_beat(wiring.settings.home), wiring.snapshots.current.state.revision
    return pages.worker_words(heartbeat, wiring.clock(), revision=revision)


@bp.get("/sign-in/<token>")
def offer_sign_in(token: str) -> ResponseReturnValue:
    """Show a button: mail scanners and link previews follow links, and must not spend this one."""
    return render_template("sign_in.html", token=token)


@bp.post("/sign-in/<token>")
def do_sign_in(token: str) -> ResponseReturnValue:
    """Spend the link, set the session cookie, go to the list."""
    cookie = sign_in(services().store, token, now=services().clock())
    if cookie is None:
        text = "It was used, or it is older than an hour. Print another with `opportune sign-in-link`."
        return message("This link no longer works", text), 403
    response = make_response(redirect(url_for("dashboard.home"), 303))
    # The proxy in front may be the one that speaks https; saying so can only make the cookie stricter.
    secure = request.is_secure or request.headers.get("X-Forwarded-Proto") == "https"
    response.set_cookie(
        COOKIE,
        cookie,
        max_age=int(SESSION_VALID.total_seconds()),
        httponly=True,
        samesite="Lax",
        secure=secure,
    )
    return response
