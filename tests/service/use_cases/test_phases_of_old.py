"""Which phase an exposure belongs to that names none: the one that was live when it happened."""

from datetime import timedelta
from pathlib import Path

import pytest

from service.use_cases.exposures import ExposureBook
from service.use_cases.launch import apply
from tests.service.use_cases.shops import FILES, KEY, START, a_store

DAY = timedelta(days=1)
WITHOUT = {name: text for name, text in FILES.items() if KEY not in text}


@pytest.mark.parametrize(
    ("days", "phase"),
    [(-400, 1), (-1, 1), (0, 1), (9, 1), (10, 2), (19, 2), (30, 3), (999, 3)],
)
def test_the_phase_is_that_of_the_revision_of_its_time(tmp_path: Path, days: int, phase: int) -> None:
    def of(number: int) -> dict[str, str]:
        return {n: text + f"phase: {number}\n" if KEY in text else text for n, text in FILES.items()}

    with a_store(tmp_path / "home") as store:
        for files, day in ((WITHOUT, -1), (FILES, 0), (of(2), 10), (of(3), 30)):
            apply(store, files, by="test", now=START + day * DAY)
        live = store.live_state().revision
        found = ExposureBook().experiment_at(store, KEY, START + days * DAY, live=live)
        nobody = ExposureBook().experiment_at(store, "nobody", START, live=live)

    assert found is not None
    assert nobody is None
    assert found.phase == phase
