"""First versions of catalog files, ready to be filled in: they pass `opportune lint` as they are."""

from collections.abc import Mapping

from experiments.definitions import MetricKind
from service.catalog.loader import LoadedCatalog

EXPERIMENT = """\
# {title}: one question, answered by an experiment. All keys: docs/catalog.md.
experiment: {name}               # its name for ever: never used for another question
owner: you@example.com
status: draft                    # nobody sees it; `opportune start {name}` sets it to running. Without this
                                 # line it runs on 100% of its audience as soon as the file is applied

hypothesis:
  statement: "Showing ... will make more people buy, because ..."
  baseline: 5%                   # share of people who do it today; plans how many people are needed

allocation: 100%                 # share of visitors who take part; `opportune ramp` raises it later

variants:                        # the first is the control; values: text, numbers, true/false or objects
  control: ""
  treatment: "The new text"

metrics:
  primary: {metric}

analysis: {{mde: 10% relative}}    # the smallest improvement worth finding
decide: {{min_runtime: 7d}}        # no verdict before one whole week
"""

FLAG = """\
# {title}: a switch; nothing is measured. All keys: docs/catalog.md.
flag: {name}
owner: you@example.com
status: draft                    # `opportune start {name}` sets it to running
value: true                      # for those it is on for
otherwise: false                 # for everybody else
allocation: 100%                 # share of visitors it is on for
"""

METRICS = """\
# What is measured: one number per person, from the events within `window` of the first exposure.
# Orders that carry money come from your server; browsers may send them only after
# `data: {client_revenue: allow}` (docs/catalog.md, "Data").
metrics:
  purchase:
    kind: conversion             # did it happen at all? Others: count (how often), mean (how much),
                                 # ratio, quantile, nps, retention, ...: docs/metrics.md
    event: Order Completed       # the name of the event as your site sends it
    window: 7d
    direction: up                # more is better
    label: order rate            # a noun: verdicts say "order rate is 12 % with ..."
"""


def scaffold(kind: str, name: str, loaded: LoadedCatalog) -> Mapping[str, str]:
    """Return the new files of one experiment or flag, by name; metrics.yaml too if there is no metric."""
    title = name.replace("-", " ").replace("_", " ").capitalize()
    if kind == "flag":
        return {f"flags/{name}.yaml": FLAG.format(title=title, name=name)}
    metric = _conversion(loaded)
    files = {
        f"experiments/{name}.yaml": EXPERIMENT.format(title=title, name=name, metric=metric or "purchase")
    }
    return files if metric else {**files, "metrics.yaml": METRICS}


def _conversion(loaded: LoadedCatalog) -> str:
    """Return the best metric for a first experiment: a purchase, else any conversion, else any metric."""
    metrics = loaded.catalog.metrics
    conversions = [key for key, metric in sorted(metrics.items()) if metric.kind is MetricKind.CONVERSION]
    return "purchase" if "purchase" in conversions else next(iter([*conversions, *sorted(metrics)]), "")
