"""Texts among the facts of an event."""

from json.encoder import encode_basestring

import ibis
import ibis.expr.types as ir

BACKSLASH = "\\"
# Two of them first become what no JSON text holds: any other then begins an escape. No event holds a NUL.
HELD = f"{BACKSLASH}-"
ESCAPED = tuple((encode_basestring(sign)[1:-1], sign) for sign in ('"', *map(chr, range(1, 32))))


def text_of(fact: ir.StringValue) -> ir.StringValue:
    """Return the text that a fact is, where it is one and not empty, else null."""
    # Facts are canonical JSON: only a text can name a unit, and neither quotes nor escapes are part of it.
    inner = fact.substr(1, fact.length() - 2)
    is_text = ibis.and_(fact.startswith('"'), inner != "")
    is_plain = ibis.and_(is_text, inner.find(BACKSLASH) < 0)
    # Hardly any text has an escape, and to look for all of them takes a while.
    return ibis.cases((is_plain, inner), (is_text, _unescaped(inner)), else_=ibis.null("string"))


def _unescaped(inner: ir.StringValue) -> ir.StringValue:
    text = inner.replace(BACKSLASH * 2, HELD)
    for escape, sign in ESCAPED:
        text = text.replace(escape, sign)
    return text.replace(HELD, BACKSLASH)
