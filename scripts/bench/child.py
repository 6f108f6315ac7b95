"""Do one step in a process of its own, and tell what it took."""

import multiprocessing
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Taken(Generic[T]):
    """What a step gave and took: wall clock, CPU time (also of children that ended), peak memory."""

    value: T
    wall_s: float
    cpu_s: float
    peak_bytes: int

    def told(self) -> str:
        """Return the figures as text."""
        return f"{self.cpu_s:.2f} CPU-s, {self.wall_s:.2f} s, peak {self.peak_bytes / 2**20:,.0f} MiB"


def measured(step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Taken[T]:
    """Run `step`, a function of a module, in a new process; imports are not counted.

    Raises
    ------
    RuntimeError
        If the process ended without an answer.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(theirs, step, args, kwargs))
    process.start()
    theirs.close()
    try:
        taken: Taken[T] = ours.recv()
    except EOFError as error:
        raise RuntimeError(f"{step.__name__} ended without an answer") from error
    finally:
        process.join()
    return taken


def _run(
    answer: Connection, step: Callable[..., T], args: tuple[object, ...], kwargs: dict[str, object]
) -> None:
    cpu_before, started = _cpu_s(), time.perf_counter()
    value = step(*args, **kwargs)
    wall_s = time.perf_counter() - started
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    answer.send(Taken(value, wall_s, _cpu_s() - cpu_before, peak * 1024))


def _cpu_s() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)
