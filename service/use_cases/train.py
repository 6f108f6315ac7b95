"""From the log to a live model: export, fit, measure on the next basket, gate, publish."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships no types

from recommender import evaluation
from recommender.definitions import RankBy, Recommender
from recommender.evaluation import Score, Split
from recommender.features import feature_matrix, tokens_of
from recommender.interactions import ITEM_ID, PERSON_ID, Interactions, build
from recommender.model import Blend, Model, fits
from recommender.popularity import popularity_model
from recommender.training import Config, fit
from service import artifacts
from service.catalog.rules import DataRules
from service.clock import from_micros
from service.lake import export_all, lake_at, read_interactions, read_persons
from service.settings import Settings
from service.storage.holding import TTL_S, LeaseKeeper, holding
from service.storage.leases import under
from service.storage.ports import Store
from service.storage.records import Item
from service.use_cases.launch import live_catalog
from service.use_cases.wishes import Wishes

SEED = 42
KEEP = 3
"""Models kept on disk, for a way back."""
MIN_PAIRS, MIN_PEOPLE, MIN_ITEMS, MIN_CASES = 1_000, 100, 20, 50
"""Below any of these nothing personal can be learned and checked: bestsellers are published."""
ASKED_AT_ONCE = 500
"""People whose decisions are looked up together, as for a batch of events."""
NAME_FIELDS = ("title", "name")
LEASE = "training"
PATIENCE_S = 2 * TTL_S
"""For as long a training waits for one that was killed, whose lease must expire first."""
PERSONAL, BESTSELLERS = "lightfm-warp+ease", "popularity"

Progress = Callable[[str, int, int], None]
"""Told the step, and how much of it is done: (step, done, total)."""


class TrainingBusyError(Exception):
    """Somebody else trains just now; nothing was done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Whether what would be served may be published: never worse than simpler answers by more than one error.

    `margins` holds, by the simpler answer, the mean difference in NDCG and its standard error.
    """

    margins: Mapping[str, tuple[float, float]]

    @property
    def passed(self) -> bool:
        """Whether every difference is at least minus one standard error."""
        return all(difference >= -error for difference, error in self.margins.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """What the held-out baskets say. `scores` hide what a person had, `repeats` do not."""

    blend: Blend
    gate: Gate
    n_cases: int
    min_new: int
    scores: Mapping[str, Score]
    repeats: Mapping[str, Score]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainReport:
    """What a training did. `version` is empty when nothing was published, `reason` says why not more."""

    version: str
    engine: str
    reason: str
    rows: int
    people: int
    items: int
    evaluated: Evaluated | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Everything a training reads."""

    interactions: Interactions
    features: sp.csr_matrix
    weights: Mapping[str, float]
    facts: Mapping[str, Any] = field(default_factory=dict)


def train(settings: Settings, store: Store, *, now: datetime, progress: Progress) -> TrainReport:
    """Train on what the store holds, and make the model live if it passes the gate.

    It takes a minute of one core and loads LightFM: run it in a process of its own, never in a web worker.

    Raises
    ------
    TrainingBusyError
        If another training is under way, here or on another machine.
    """
    with holding(store, LEASE, within_s=PATIENCE_S) as keeper:
        if keeper is None:
            raise TrainingBusyError("another training is under way, maybe elsewhere; wait for its end")
        return _train(settings, store, keeper, now=now, progress=progress)


def _train(
    settings: Settings, store: Store, keeper: LeaseKeeper, *, now: datetime, progress: Progress
) -> TrainReport:
    with threadpool_limits(limits=1):
        material = read_material(settings, store, now=now, progress=progress)
        if material.interactions.item_ids.size == 0:
            return _report(
                material, version="", engine="", reason="there are no items and no interactions yet"
            )
        model, evaluated, reason = _learn(material, progress)
    progress("publish", 0, 1)
    engine = PERSONAL if model.personal else BESTSELLERS
    facts = {**material.facts, "engine": engine, "reason": reason, "metrics": _metrics(evaluated)}
    version = artifacts.save(settings.models, model, facts, created_at=now)
    # What cannot be read back must not go live.
    artifacts.load(settings.models, version)
    with under(keeper.check()):
        store.set_live_model(version, now=now)
    artifacts.prune(settings.models, keep=KEEP, live=version)
    progress("publish", 1, 1)
    return _report(material, version=version, engine=engine, reason=reason, evaluated=evaluated)


def read_material(settings: Settings, store: Store, *, now: datetime, progress: Progress) -> Material:
    """Bring the lake up to the end of the log and read what there is to learn from, of those who agreed."""
    progress("read", 0, 1)
    export_all(store, lake_at(settings.lake, store))
    items = [item for item in store.all_items() if fits(item.item_id)]
    weights = event_weights(_recommenders(store))
    table, n_refused = _of_the_willing(
        _representable(read_interactions(settings.lake).to_pandas()), settings, store, now
    )
    interactions = build(table, weights, more_items=[item.item_id for item in items])
    progress("read", 1, 1)
    times = interactions.occurred_us
    window = [from_micros(int(t)).isoformat() for t in (times.min(), times.max())] if times.size else []
    data = {
        "rows": len(interactions),
        "people": int(interactions.user_ids.size),
        "items": int(interactions.item_ids.size),
        "refused": n_refused,
        "window": window,
        "event_weights": dict(sorted(weights.items())),
    }
    facts = {"seed": SEED, "parameters": asdict(Config()), "data": data}
    features = _features(interactions, items)
    return Material(interactions=interactions, features=features, weights=weights, facts=facts)


def event_weights(recommenders: Sequence[Recommender]) -> dict[str, float]:
    """Return what counts as an interaction, for one model that serves them all: the greatest weight named."""
    weights: dict[str, float] = {}
    for recommender in recommenders or (Recommender(key="default"),):
        for event_type, weight in recommender.weights.items():
            weights[event_type] = max(weight, weights.get(event_type, 0.0))
    return weights


def too_little(interactions: Interactions) -> str:
    """Return what is missing for a personal model, empty if nothing is."""
    have = (
        (interactions.n_pairs(), MIN_PAIRS, "pairs of person and item"),
        (np.unique(interactions.user_index).size, MIN_PEOPLE, "people"),
        (np.unique(interactions.item_index).size, MIN_ITEMS, "items somebody had"),
    )
    short = [f"{n:,} {what} (at least {least:,} are needed)" for n, least, what in have if n < least]
    return f"bestsellers only: there are {short[0]}" if short else ""


def gate(ndcg: Mapping[str, npt.NDArray[np.float64]]) -> Gate:
    """Compare what would be served, case by case, with every simpler answer."""
    margins = {
        name: (float(difference.mean()), evaluation.standard_error(difference))
        for name, values in ndcg.items()
        if name != "served"
        for difference in (ndcg["served"] - values,)
    }
    return Gate(margins=margins)


def _learn(material: Material, progress: Progress) -> tuple[Model, Evaluated | None, str]:
    bestsellers = partial(popularity_model, material.interactions)
    reason = too_little(material.interactions)
    if reason:
        return bestsellers(), None, reason
    split = evaluation.split_next_basket(material.interactions, min_cases=MIN_CASES)
    if len(split.cases) < MIN_CASES or too_little(split.train):
        return (
            bestsellers(),
            None,
            f"bestsellers only: too few people came back ({len(split.cases)}) to check more",
        )
    evaluated = _evaluate(split, material, progress)
    if not evaluated.gate.passed:
        return bestsellers(), evaluated, "bestsellers only: the personal model did not pass the gate"
    model = _fit("fit on everything", material.interactions, material, progress)
    return replace(model, blend=replace(evaluated.blend, gain=model.blend.gain)), evaluated, ""


def _evaluate(split: Split, material: Material, progress: Progress) -> Evaluated:
    model = _fit("fit without the last baskets", split.train, material, progress)
    progress("tune and measure", 0, 1)
    fitted = evaluation.tune(model, split.cases)
    scorers = {
        "served": evaluation.served(model, fitted.blend),
        "lightfm static": evaluation.static(model),
        "popularity": evaluation.bestsellers(model),
    }
    found = {n: evaluation.evaluate(split.cases, s, model.n_items) for n, s in scorers.items()}
    ndcg = {name: values for name, (_, values) in found.items()} | {"served": fitted.ndcg}
    scores = {name: score for name, (score, _) in found.items()}
    scores["served"] = scores["served"]._replace(
        ndcg=float(fitted.ndcg.mean()), se=evaluation.standard_error(fitted.ndcg)
    )
    repeats = {
        n: evaluation.evaluate(split.cases, s, model.n_items, discovery=False)[0] for n, s in scorers.items()
    }
    progress("tune and measure", 1, 1)
    return Evaluated(
        blend=fitted.blend,
        gate=gate(ndcg),
        n_cases=len(split.cases),
        min_new=split.min_new,
        scores=scores,
        repeats=repeats,
    )


def _fit(step: str, interactions: Interactions, material: Material, progress: Progress) -> Model:
    config = Config()
    # The item-item matrix is the last of as many steps as there are epochs, and one.
    total = config.epochs + 1
    progress(step, 0, total)
    model = fit(
        interactions,
        material.features,
        config,
        seed=SEED,
        on_epoch=lambda done: progress(step, done, total),
    )
    progress(step, total, total)
    return model


def _recommenders(store: Store) -> list[Recommender]:
    catalog = live_catalog(store)
    return [r for r in catalog.recommenders.values() if r.rank_by is RankBy.MODEL] if catalog else []


def _representable(table: pd.DataFrame) -> pd.DataFrame:
    """Leave out ids that no model can keep; the wire refuses them, an old log might hold one."""
    good = {name: {v: fits(str(v)) for v in table[name].unique()} for name in (PERSON_ID, ITEM_ID)}
    keep = [
        good[PERSON_ID][p] and good[ITEM_ID][i] for p, i in zip(table[PERSON_ID], table[ITEM_ID], strict=True)
    ]
    return table[np.array(keep, dtype=np.bool_)]


def _of_the_willing(
    table: pd.DataFrame, settings: Settings, store: Store, now: datetime
) -> tuple[pd.DataFrame, int]:
    """Leave out what people refused since to have learned; return of how many people that is, too.

    The same is asked as when the event came, with all ids that it names.
    """
    catalog = live_catalog(store)
    rules = catalog.data if catalog else DataRules()
    if rules.unknown_consent and not store.has_consents():
        return table, 0
    ids = read_persons(settings.lake)
    named = pd.DataFrame({name: ids[name].fill_null("").to_pandas() for name in ids.column_names})
    events = table[["event_id"]].merge(named, on="event_id", how="left")
    pairs = list(zip(events["user_id"], events["anonymous_id"], strict=True))
    distinct = sorted(set(pairs))
    wishes = Wishes()
    willing: set[tuple[str, str]] = set()
    for start in range(0, len(distinct), ASKED_AT_ONCE):
        some = distinct[start : start + ASKED_AT_ONCE]
        persons = [[p + i for p, i in zip(("u:", "a:"), pair, strict=True) if i] for pair in some]
        told = wishes.of(store, persons, rules=rules, now=now)
        willing.update(pair for pair, wish in zip(some, told, strict=True) if wish.train)
    keep = np.array([pair in willing for pair in pairs], dtype=np.bool_)
    return table[keep], int(table[PERSON_ID][~keep].nunique())


def _features(interactions: Interactions, items: Sequence[Item]) -> sp.csr_matrix:
    tokens = {item.item_id: tokens_of(_name(item), item.categories) for item in items}
    return feature_matrix([tokens.get(str(item_id), ()) for item_id in interactions.item_ids])


def _name(item: Item) -> str:
    return next((str(item.fields[name]) for name in NAME_FIELDS if name in item.fields), "")


def _metrics(evaluated: Evaluated | None) -> dict[str, Any]:
    if evaluated is None:
        return {}
    rounded = {
        kind: {name: {k: round(v, 6) for k, v in score._asdict().items()} for name, score in scores.items()}
        for kind, scores in (
            ("next_basket", evaluated.scores),
            ("next_basket_with_repeats", evaluated.repeats),
        )
    }
    return {"cases": evaluated.n_cases, "min_new_items": evaluated.min_new, **rounded}


def _report(
    material: Material, *, version: str, engine: str, reason: str, evaluated: Evaluated | None = None
) -> TrainReport:
    return TrainReport(
        version=version,
        engine=engine,
        reason=reason,
        rows=len(material.interactions),
        people=int(material.interactions.user_ids.size),
        items=int(material.interactions.item_ids.size),
        evaluated=evaluated,
    )
