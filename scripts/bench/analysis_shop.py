"""The catalog of the analysis bench, and a home that serves it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from experiments.definitions import Experiment, Metric
from scripts.bench.analysis_lake import DAYS, EXPERIMENTS, ORDERED, START
from service.catalog import load
from service.settings import Settings, make_home
from service.settings import load as load_settings
from service.storage.migrate import migrate
from service.storage.ports import Store
from service.storage.sql import open_store
from service.use_cases.launch import apply

NOW = START + timedelta(days=DAYS)
KEY = EXPERIMENTS[0]
FILES = {
    "metrics.yaml": f"""\
metrics:
  revenue:
    {{kind: mean, event: {ORDERED}, value: revenue, currency: EUR, window: 7d, lookback: 7d, cap: 500}}
""",
    **{
        f"experiments/{key}.yaml": f"""\
experiment: {key}
variants: {{control: "", treatment: "x"}}
metrics: {{primary: revenue}}
decide: {{min_runtime: 2d}}
"""
        for key in EXPERIMENTS
    },
}


def plan() -> tuple[Experiment, tuple[Metric, ...]]:
    """Return the experiment that is measured, and its metrics."""
    catalog = load(FILES).catalog
    experiment = catalog.experiments[KEY]
    return experiment, tuple(catalog.metrics[key] for key in experiment.metrics.keys())  # noqa: SIM118


def settings_in(home: Path) -> Settings:
    """Return the settings of a home in a folder, whatever the environment says."""
    keys = {
        f"OPPORTUNE_{kind.upper()}_KEY": f"{prefix}_{'0123456789abcdef' * 2}"
        for kind, prefix in (("client", "ck"), ("server", "sk"), ("analyst", "rk"), ("admin", "ak"))
    }
    return load_settings({"OPPORTUNE_HOME": str(home), **keys})


@contextmanager
def a_store(home: Path) -> Iterator[Store]:
    """Open the store of a home, made and with the catalog applied where there was none."""
    settings = settings_in(home)
    make_home(settings)
    migrate(settings.database_url)
    store = open_store(settings)
    try:
        if not store.live_state().revision:
            apply(store, FILES, by="bench", now=START)
        yield store
    finally:
        store.close()
