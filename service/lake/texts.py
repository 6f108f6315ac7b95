"""Texts among the facts of an event."""

import ibis
import ibis.expr.types as ir


def text_of(fact: ir.StringValue) -> ir.StringValue:
    """Return the text that a fact is, where it is one and not empty, else null."""
    # Facts are JSON: only a text can name a unit, and its quotes are not part of it.
    inner = fact.substr(1, fact.length() - 2)
    return ibis.cases((ibis.and_(fact.startswith('"'), inner != ""), inner), else_=ibis.null("string"))
