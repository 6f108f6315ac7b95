"""What every page shares: who is signed in, forms that only our own pages can send, messages."""

import hmac
from collections.abc import Callable
from functools import wraps

from flask import current_app, render_template, request
from flask.typing import ResponseReturnValue

from service.dashboard.sentences import pieces
from service.errors import ProblemError
from service.storage.records import KeyClass
from service.use_cases.access import hash_key
from service.use_cases.services import Services
from service.use_cases.sessions import COOKIE, session_class

EXTENSION = "opportune"
FORM_BYTES = 16 * 1024
TOKEN = "form_token"  # noqa: S105 - the name of a field

View = Callable[..., ResponseReturnValue]


def services() -> Services:
    """Return the wiring of this process."""
    wiring: Services = current_app.extensions[EXTENSION]
    return wiring


def visitor() -> KeyClass | None:
    """Return as what this browser is signed in, None if it is not."""
    wiring = services()
    return session_class(wiring.store, request.cookies.get(COOKIE, ""), now=wiring.clock())


def readers_only(view: View) -> View:
    """Show a page to those who have signed in; `needs_sign_in` tells the description of the routes."""

    @wraps(view)
    def guarded(*args: object, **kwargs: object) -> ResponseReturnValue:
        return view(*args, **kwargs) if visitor() is not None else _ask_to_sign_in()

    guarded.needs_sign_in = True  # type: ignore[attr-defined]
    return guarded


def administrators_only(view: View) -> View:
    """Let an administrator in, and what a form sends only if one of our own pages made the form."""

    @wraps(view)
    def guarded(*args: object, **kwargs: object) -> ResponseReturnValue:
        known_as = visitor()
        if known_as is None:
            return _ask_to_sign_in()
        if known_as is not KeyClass.ADMIN:
            return message("This is for administrators", ASK_FOR_ADMIN), 403
        if request.method == "POST" and not _is_our_form():
            return message("This form is too old", "Go back, reload the page and send it again."), 403
        return view(*args, **kwargs)

    guarded.needs_sign_in = True  # type: ignore[attr-defined]
    return guarded


ASK_FOR_ADMIN = (
    "You are signed in to read. On the machine that runs Opportune, `opportune sign-in-link --admin` prints "
    "a link for administrators."
)


def form_token() -> str:
    """Return what a form of this session sends along; another site cannot know it."""
    return hash_key(f"{TOKEN}:{request.cookies.get(COOKIE, '')}")


def _is_our_form() -> bool:
    request.max_content_length = FORM_BYTES
    return hmac.compare_digest(request.form.get(TOKEN, "").encode(), form_token().encode())


def message(title: str, text: str, *, back: tuple[str, str] | None = None) -> str:
    """Return a page that says one thing; `back` is an address with its words."""
    return render_template("message.html", title=title, text=pieces(text), back=back)


_TITLES = {
    "no_verdict_yet": "There is no verdict yet",
    "unknown_experiment": "No experiment has that key",
    "not_found": "There is nothing here",
}


def refuse(problem: ProblemError) -> ResponseReturnValue:
    """Say on a page what the API says as a problem."""
    return message(_TITLES.get(problem.code, "Not found"), problem.detail), problem.status


def _ask_to_sign_in() -> ResponseReturnValue:
    text = (
        "On the machine that runs Opportune, print a one-time link with `opportune sign-in-link` and open it."
    )
    return message("Please sign in", text), 401
