"""`opportune decisions`: what was decided and done; `opportune webhooks`: whether it reaches others."""

import sys
import textwrap

import click
import orjson

from service import settings as settings_module
from service.catalog.webhooks import Webhook
from service.cli.desk import store_of, tells
from service.cli.desk_text import table
from service.clock import utc_now
from service.settings import Settings, explicit
from service.storage.analysis_records import OutboxMessage
from service.storage.ports import Store
from service.use_cases.decisions import decision_id, find_decision, wire_form
from service.use_cases.endpoints import EndpointError, endpoint_of
from service.use_cases.launch import check_key, live_catalog, suggest
from service.use_cases.steer import RefusedError
from service.use_cases.verdicts import when
from service.use_cases.webhooks import try_endpoint

WIDTH = 100
WHOSE = "this shell"
LIMIT = click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1_000))
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")


@click.command()
@click.argument("key", default="")
@LIMIT
@JSON
@tells
def decisions(key: str, limit: int, *, as_json: bool) -> None:
    """Tell what was decided, newest first, and why.

    KEY is an experiment, or the id of one decision such as free-shipping.1.d3.
    """
    with store_of(settings_module.load()) as store:
        one = find_decision(store, key)
        found = [one] if one else store.decisions(key, limit=limit)
        if key and not found:
            check_key(store, key)
    if as_json:
        for decision in found:
            click.echo(orjson.dumps(wire_form(decision)))
        return
    if not found:
        click.echo("Nothing was decided yet: every verdict so far is to keep running.")
    for decision in found:
        done = "nothing was done" if decision.action == "none" else decision.action
        click.echo(f"{decision_id(decision)}   {when(decision.decided_at)}   {done}")
        click.echo(textwrap.fill(decision.reason, WIDTH, initial_indent="    ", subsequent_indent="    "))


@click.group()
def webhooks() -> None:
    """Look after messages about decisions."""


@webhooks.command("list")
@LIMIT
@JSON
@tells
def list_(limit: int, *, as_json: bool) -> None:
    """Tell where webhooks lead, and what became of the newest messages."""
    settings = settings_module.load()
    with store_of(settings) as store:
        hooks, found, counts = _webhooks(store), store.messages(limit=limit), store.outbox_counts()
    if as_json:
        for message in found:
            click.echo(orjson.dumps(_members(message)))
        return
    if hooks:
        rows = [(key, _standing(hook, settings)) for key, hook in sorted(hooks.items())]
        click.echo(table([("WEBHOOK", "FROM THIS ENVIRONMENT"), *rows]))
    else:
        click.echo("The live catalog has no webhooks.")
    click.echo(", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in counts.items()))
    if found:
        heads = ("MESSAGE", "WEBHOOK", "MADE", "TRIES", "STATE")
        lines = [(m.message_id, m.endpoint, when(m.created_at), str(m.attempts), _state(m)) for m in found]
        click.echo(table([heads, *lines]))


@webhooks.command()
@click.argument("name")
@tells
def test(name: str) -> None:
    """Send one test message to the webhook NAME, with the variables of this environment.

    A webhook that was disabled because it answered 410 is used again once it takes the test.
    """
    settings = settings_module.load()
    now = utc_now()
    with store_of(settings) as store:
        hooks = _webhooks(store)
        if name not in hooks:
            raise RefusedError(
                f"no webhook '{name}' is live: {suggest(name, hooks) or 'the catalog has none'}"
            )
        try:
            endpoint = endpoint_of(hooks[name], explicit, insecure=settings.insecure_webhooks, whose=WHOSE)
        except EndpointError as error:
            raise RefusedError(str(error)) from error
        problem = try_endpoint(endpoint, message_id=f"msg_test_{int(now.timestamp())}", now=now)
        if problem:
            click.echo(f"{name} did not take the test: {problem}.", err=True)
            sys.exit(1)
        freed = store.enable_endpoint(name, now=now)
    click.echo(f"{name} took the test.")
    if freed:
        click.echo(f"It was disabled; {freed} messages that were held back are on their way.")


@webhooks.command()
@click.argument("message")
@tells
def retry(message: str) -> None:
    """Send the message with the id MESSAGE again that was not delivered."""
    with store_of(settings_module.load()) as store:
        n = store.retry_message(message, now=utc_now())
    if not n:
        raise RefusedError(f"no undelivered message has the id '{message}': see `opportune webhooks list`")
    click.echo(f"{message} will be sent by the worker within seconds.")


def _webhooks(store: Store) -> dict[str, Webhook]:
    loaded = live_catalog(store)
    return dict(loaded.webhooks) if loaded else {}


def _standing(hook: Webhook, settings: Settings) -> str:
    try:
        endpoint_of(hook, explicit, insecure=settings.insecure_webhooks, whose=WHOSE)
    except EndpointError as error:
        return str(error)
    return f"{hook.url_env} and {hook.secret_env} are set"


def _state(message: OutboxMessage) -> str:
    if message.delivered_at is not None:
        return f"delivered {when(message.delivered_at)}"
    state = "given up" if message.next_at is None else f"next try {when(message.next_at)}"
    return f"{state}: {message.problem}" if message.problem else state


def _members(message: OutboxMessage) -> dict[str, object]:
    return {
        "message_id": message.message_id,
        "webhook": message.endpoint,
        "created_at": message.created_at.isoformat(),
        "attempts": message.attempts,
        "next_at": message.next_at and message.next_at.isoformat(),
        "delivered_at": message.delivered_at and message.delivered_at.isoformat(),
        "problem": message.problem,
    }


commands: tuple[click.Command, ...] = (decisions, webhooks)
