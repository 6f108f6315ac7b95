"""Which visitors are one person, as the events of the lake tell, and who of them saw several variants.

The rule of `service.use_cases.identity`: an event that names a visitor and a user is a link, so is an alias.
A visitor is the user of the first link, of equal moments the least id, in whatever order the links came.
"""

import ibis
import ibis.expr.types as ir

from service.lake.texts import text_fact

ALIASED = "User Aliased"
PREVIOUS = "previous_id"


def people_of(events: ir.Table) -> ir.Table:
    """One row per visitor who is known to be a user: `anonymous_id` and `person`."""
    named = events.filter(events.user_id.notnull())
    aliases = named.filter(named.type == ALIASED)
    said = named.select("anonymous_id", "user_id", "occurred_us").union(
        aliases.select("user_id", "occurred_us", anonymous_id=text_fact(aliases, PREVIOUS)).select(
            "anonymous_id", "user_id", "occurred_us"
        )
    )
    told = said.filter(said.anonymous_id.notnull())
    links = told.group_by("anonymous_id", "user_id").aggregate(linked_us=told.occurred_us.min())
    order = ibis.window(group_by="anonymous_id", order_by=["linked_us", "user_id"])
    ranked = links.mutate(place=ibis.row_number().over(order))
    return ranked.filter(ranked.place == 0).select("anonymous_id", person="user_id")


def contaminated_of(seen: ir.Table, people: ir.Table) -> ir.IntegerScalar:
    """Count the visitors who saw one variant, while their person saw another one as another visitor.

    Who saw several variants as one visitor is left out of the analysis anyway, and is not counted here.
    """
    told = seen.inner_join(people, seen.unit_id == people.anonymous_id).select(
        "unit_id", "person", "variant_key"
    )
    of_person = told.group_by("person").aggregate(n_of_person=told.variant_key.nunique())
    of_unit = told.group_by("unit_id", "person").aggregate(n_of_unit=told.variant_key.nunique())
    both = of_unit.inner_join(of_person, "person")
    return both.filter(both.n_of_unit == 1, both.n_of_person > 1).count()
