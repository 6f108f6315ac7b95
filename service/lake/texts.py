"""Texts among the facts of an event."""

import ibis
import ibis.expr.types as ir


def text_fact(events: ir.Table, name: str) -> ir.StringValue:
    """Return the property `name` where it is a text that is not empty, else null."""
    fact = events.facts.get(name)
    # Facts are JSON: only a text can name a unit, and its quotes are not part of it.
    inner = fact.substr(1, fact.length() - 2)
    return ibis.cases((ibis.and_(fact.startswith('"'), inner != ""), inner), else_=ibis.null("string"))
