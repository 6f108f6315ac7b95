"""The peeking race as a page shows it: cells, lines and words of one race, no markup."""

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.peeking import Tally
from service.dashboard.chart import Tick
from service.use_cases.peeking import SEEDS, Race

WIDTH, HEIGHT = 960, 340
LEFT, RIGHT, TOP, BOTTOM = 52, 20, 16, 44
COLUMNS, CELL = 10, 20
WEEK = 7
ROUND = 10  # the scale ends on a multiple of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One experiment at its place; `day` is when it was called a winner, 0 if never."""

    x: int
    y: int
    day: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """What one method called a winner. `counts` has a number for each day, from the 0 before the first."""

    name: str
    title: str
    n: int
    counts: Sequence[int]
    cells: Sequence[Cell]
    points: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RacePage:
    """Everything the template needs, in the coordinates of a WIDTH x HEIGHT view box."""

    seed: int
    first: int
    last: int
    next: int
    of: int
    days: int
    visitors: int
    rate: float
    lift: float
    panels: Sequence[Panel]
    expected: str
    expected_at_end: str
    promised: float
    promise: float
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    rows: Sequence[tuple[int, int, int, int, int]]
    side: int = COLUMNS * CELL
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM


def draw(race: Race) -> RacePage:
    """Place the cells and the lines; `rows` are day, visitors, classical now, classical ever, ours ever."""
    classical, ours = race.classical, race.ours
    most = max(int(classical.ever[-1]), int(ours.ever[-1]), race.expected[-1], race.promised)
    top = ROUND * (int(most) // ROUND + 1)

    def x(day: int) -> float:
        return round(LEFT + (WIDTH - RIGHT - LEFT) * day / race.plan.days, 2)

    def y(n: float) -> float:
        return round(HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * n / top, 2)

    def line(values: Sequence[float]) -> str:
        return " ".join(f"{x(day)},{y(n)}" for day, n in enumerate([0, *values]))

    def panel(name: str, title: str, tally: Tally, note: str) -> Panel:
        counts = [0, *tally.ever.tolist()]
        return Panel(
            name=name,
            title=title,
            n=counts[-1],
            counts=counts,
            cells=_cells(tally),
            points=line(counts[1:]),
            note=note,
        )

    return RacePage(
        seed=race.seed,
        first=SEEDS[0],
        last=SEEDS[-1],
        next=race.seed % SEEDS[-1] + 1,
        of=race.plan.experiments,
        days=race.plan.days,
        visitors=race.visitors[-1],
        rate=race.conversions / race.visitors[-1],
        lift=race.plan.mde,
        panels=(
            panel("classical", "Classical p-value", classical, _classical_note(race)),
            panel("ours", "Opportune", ours, f"At most {race.promised:g} are promised, on average."),
        ),
        expected=line(race.expected),
        expected_at_end=f"{race.expected[-1]:.3g}",
        promised=race.promised,
        promise=y(race.promised),
        x_ticks=tuple(Tick(at=x(day), label=str(day)) for day in range(WEEK, race.plan.days + 1, WEEK)),
        y_ticks=tuple(Tick(at=y(n), label=str(n)) for n in range(0, top + 1, ROUND)),
        rows=list(
            zip(
                range(1, race.plan.days + 1),
                race.visitors,
                classical.now.tolist(),
                classical.ever.tolist(),
                ours.ever.tolist(),
                strict=True,
            )
        ),
    )


def _cells(tally: Tally) -> list[Cell]:
    return [
        Cell(x=CELL * (i % COLUMNS), y=CELL * (i // COLUMNS), day=day)
        for i, day in enumerate(tally.first_day.tolist())
    ]


def _classical_note(race: Race) -> str:
    last = int(race.classical.now[-1])
    still = f"After the last day {last} still {'has' if last == 1 else 'have'} p below .05."
    return f"About {race.expected[-1]:.3g} were to be expected. {still}"
