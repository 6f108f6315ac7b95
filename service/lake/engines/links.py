"""What events say about who is who, for any engine that has the events."""

import ibis
import ibis.expr.types as ir

from service.lake.columns import Wanted
from service.lake.engine import Engine
from service.lake.texts import text_of
from service.storage.naming import ALIASED, PREVIOUS

COLUMNS = ("seq", "type", "user_id", "anonymous_id", "previous", "occurred_us")
ALIASES = Wanted(facts=(PREVIOUS,), types=(ALIASED,))


def links_of(engine: Engine) -> ir.Table:
    """Return the table that `Engine.links` promises."""
    # Two reads: of the many that name a visitor no properties need be opened.
    visitors, aliases = engine.events(Wanted()), engine.events(ALIASES)
    named = visitors.filter(visitors.user_id.notnull(), visitors.anonymous_id.notnull())
    previous, nobody = text_of(aliases[ALIASES.fact(PREVIOUS)]), ibis.null("string")
    renamed = aliases.filter(aliases.user_id.notnull(), previous.notnull())
    return (
        named.mutate(previous=nobody)
        .select(*COLUMNS)
        .union(renamed.mutate(previous=previous, anonymous_id=nobody).select(*COLUMNS))
    )
