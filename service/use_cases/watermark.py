"""Up to when the log is taken to be complete."""

import math
from collections.abc import Sequence

SHARE = 0.9
# So far ahead may an event be dated (service/use_cases/ingest.py): no fast clock closes a day early.
AHEAD_US = 5 * 60 * 1_000_000


def as_of_us(newest_us: Sequence[int], *, floor_us: int = 0) -> int:
    """Return up to when the log is taken to be complete, given when its newest events occurred.

    The 90th percentile of them by their own clocks, whenever they came, less what a clock may run fast: it
    follows from the events, not from their order. A few strays in a replayed past do not close its days
    early. It never goes back behind `floor_us`.

    Examples
    --------
    >>> as_of_us([400_000_000, 360_000_000, 330_000_000])
    100000000
    """
    ordered = sorted(newest_us)
    return max(floor_us, ordered[math.ceil(SHARE * len(ordered)) - 1] - AHEAD_US)
