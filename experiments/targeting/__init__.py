"""Is this unit eligible? Conditions on attributes and behaviour, parsed once and compiled to closures.

The operators are GrowthBook's under friendlier names and mean what they mean in its SDKs, so that an audience
picks the same people through every protocol. Three of those meanings surprise: a missing attribute is null;
compared with a number it counts as 0; ``in`` and ``not_in`` on a list ask whether any element matches.

This is the door: `conditions` holds the nodes, `syntax` reads them, `compiler` compiles them, `phrases` and
`explain` tell people about them.
"""

from experiments.targeting.closures import Predicate
from experiments.targeting.compiler import Facts, Lists, compile_condition
from experiments.targeting.conditions import (
    ELEMENT,
    All,
    Any_,
    Attributes,
    AudienceRef,
    Behaviour,
    Condition,
    Inside,
    Leaf,
    Not,
    audience_refs,
    behaviours,
    list_refs,
    needs_server,
    reads_request,
)
from experiments.targeting.forms import Path
from experiments.targeting.lists import hashed_member
from experiments.targeting.patterns import MAX_PATTERN
from experiments.targeting.syntax import MAX_DEPTH, OPERATORS, parse_condition

__all__ = [
    "ELEMENT",
    "MAX_DEPTH",
    "MAX_PATTERN",
    "OPERATORS",
    "All",
    "Any_",
    "Attributes",
    "AudienceRef",
    "Behaviour",
    "Condition",
    "Facts",
    "Inside",
    "Leaf",
    "Lists",
    "Not",
    "Path",
    "Predicate",
    "audience_refs",
    "behaviours",
    "compile_condition",
    "hashed_member",
    "list_refs",
    "needs_server",
    "parse_condition",
    "reads_request",
]
