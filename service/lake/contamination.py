"""Which visitors are one person, as the log tells, and who of them saw several variants.

The rule of `service.use_cases.identity`: an event that names a visitor and a user is a link, so is an alias.
A visitor is the user of the first link, of equal moments the least id, in whatever order the links came.
"""

import ibis
import ibis.expr.types as ir

LINKS = ("anonymous_id", "user_id", "occurred_us")


def people_of(links: ir.Table) -> ir.Table:
    """One row per visitor who is known to be a user: `anonymous_id` and `person`."""
    return named_of(first_of(pairs_of(links)))


def pairs_of(links: ir.Table) -> ir.Table:
    """One row per visitor and user that a link names, with its first moment: the columns of LINKS."""
    # A row has one of the two: where both were asked for, all events would be read for each.
    said = links.select(
        "user_id", "occurred_us", anonymous_id=ibis.coalesce(links.previous, links.anonymous_id)
    )
    return said.group_by("anonymous_id", "user_id").aggregate(occurred_us=said.occurred_us.min())


def first_of(pairs: ir.Table) -> ir.Table:
    """Keep the first pair of each visitor."""
    order = ibis.window(group_by="anonymous_id", order_by=["occurred_us", "user_id"])
    ranked = pairs.mutate(place=ibis.row_number().over(order))
    return ranked.filter(ranked.place == 0).select(*LINKS)


def named_of(first: ir.Table) -> ir.Table:
    """Return the rows of `people_of` from first pairs."""
    return first.select("anonymous_id", person="user_id")


def contaminated_of(units: ir.Table, people: ir.Table) -> ir.Table:
    """Count the visitors who saw one variant, while their person saw another one as another visitor: `n`.

    Who saw several variants as one visitor is left out of the analysis anyway, and is not counted here.
    """
    told = units.inner_join(people, units.unit_id == people.anonymous_id).select(
        "person", "least", "greatest"
    )
    least, greatest = told.least.min(), told.greatest.max()
    of_person = told.group_by("person").aggregate(
        low=least, high=greatest, n=told.count(where=told.least == told.greatest)
    )
    return of_person.filter(of_person.low != of_person.high).aggregate(n=of_person.n.sum())
