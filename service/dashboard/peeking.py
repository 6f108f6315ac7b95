"""The page of the peeking race: 100 A/A experiments, looked at every day, by two methods side by side."""

from flask import Blueprint, make_response, render_template, request, url_for
from flask.typing import ResponseReturnValue

from service.dashboard.frame import message, readers_only
from service.dashboard.race import draw
from service.use_cases.peeking import SEEDS, RaceBusyError, remembered

bp = Blueprint("peeking", __name__, url_prefix="/peeking")

DIGITS = len(str(SEEDS[-1]))


@bp.get("")
@readers_only
def race() -> ResponseReturnValue:
    """Show what looking every day does to a classical p-value, and not to a verdict."""
    text = request.args.get("seed", str(SEEDS[0]))
    if not (text.isascii() and text.isdecimal() and len(text) <= DIGITS and int(text) in SEEDS):
        right = f"The seed is a whole number from {SEEDS[0]} to {SEEDS[-1]:,}"
        text = f"{right}; `opportune peeking --seed` takes any."
        return message("That is no seed", text, back=(url_for(".race"), "Back to the race")), 400
    try:
        found = remembered(int(text))
    except RaceBusyError:
        answer = make_response(
            message("One race at a time", "Another one is being run. Reload this page."), 503
        )
        answer.headers["Retry-After"] = "1"
        return answer
    return render_template("peeking.html", race=draw(found))
