"""The catalog of the analysis bench, and a home that serves it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from experiments.definitions import Experiment, Metric
from scripts.bench.analysis_lake import BY_USER, BY_VISITOR, DAYS, EXPERIMENTS, ORDERED, START, UNITS
from service.catalog import load
from service.settings import Settings, make_home
from service.settings import load as load_settings
from service.storage.migrate import migrate
from service.storage.ports import Store
from service.storage.sql import open_store
from service.use_cases.launch import apply

NOW = START + timedelta(days=DAYS)
KEYS = {"user_id": BY_USER[0], "anonymous_id": BY_VISITOR[0]}
"""The experiments that are measured, by unit."""
FILES = {
    "metrics.yaml": f"""\
metrics:
  revenue:
    {{kind: mean, event: {ORDERED}, value: revenue, currency: EUR, window: 7d, lookback: 7d, cap: 500}}
""",
    **{
        f"experiments/{key}.yaml": f"""\
experiment: {key}
unit: {unit}
variants: {{control: "", treatment: "x"}}
metrics: {{primary: revenue}}
decide: {{min_runtime: 2d}}
"""
        for key, unit in zip(EXPERIMENTS, UNITS, strict=True)
    },
}


def plan(unit: str) -> tuple[Experiment, tuple[Metric, ...]]:
    """Return the experiment that is measured for a unit, and its metrics."""
    catalog = load(FILES).catalog
    experiment = catalog.experiments[KEYS[unit]]
    return experiment, tuple(catalog.metrics[key] for key in experiment.metric_keys())


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
