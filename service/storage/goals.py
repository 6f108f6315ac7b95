"""The values of goals' metrics by day in SQL."""

from collections.abc import Collection, Sequence

from sqlalchemy import select

from service.storage import schema
from service.storage.analysis_records import GoalValue
from service.storage.control import Connections
from service.storage.dialects import upsert

KEY = ("tenant", "goal", "day")


class SqlGoals:
    """The Goals port."""

    def put_goal_values(self: Connections, values: Sequence[GoalValue]) -> None:
        """Store values; one of the same goal and day is replaced."""
        table = schema.goal_value
        found = [
            {"tenant": self.tenant, "goal": v.goal, "day": v.day, "digest": v.digest, "sums": v.sums}
            for v in values
        ]
        if not found:
            return
        with self.writing() as connection:
            statement = upsert(connection, table)
            changed = {name: statement.excluded[name] for name in ("digest", "sums")}
            connection.execute(statement.on_conflict_do_update(index_elements=list(KEY), set_=changed), found)

    def goal_values(self: Connections, goals: Collection[str], *, since: str) -> Sequence[GoalValue]:
        """Return the values of these goals from the day `since` on, by goal, then by day."""
        table = schema.goal_value
        query = (
            select(table)
            .where(table.c.tenant == self.tenant, table.c.goal.in_(sorted(goals)), table.c.day >= since)
            .order_by(table.c.goal, table.c.day)
        )
        with self.reading() as connection:
            rows = connection.execute(query).all()
        return [GoalValue(goal=row.goal, day=row.day, digest=row.digest, sums=row.sums) for row in rows]
