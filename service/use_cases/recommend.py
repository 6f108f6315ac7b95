"""From a request to a slate: history and rules in, ranked items out, and the slate on record."""

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from recommender.candidates import Scalar, eligible
from recommender.definitions import RankBy, Recommender
from recommender.ranking import Recent, Taste, because, personal_scores, taste_of, top_k
from service.catalog.rules import DataRules
from service.clock import to_micros
from service.errors import Pointer, ProblemError
from service.log import logger
from service.storage.ports import StoreUnavailableError
from service.storage.records import Interaction, Mark, Slate
from service.use_cases.access import Caller, visible_person_ids
from service.use_cases.identity import known_as
from service.use_cases.models import LoadedModel, Serving
from service.use_cases.services import Services

RECENTS = 500
"""Weighted interactions read per person id: fold-in looks at the newest 200 of all ids together."""
DEFAULT_K = 10
DEFAULT = Recommender(key="default")
CERTAIN = 1.0
"""Propensity of a slate that no chance took part in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecommendAsk:
    """One request for a slate."""

    user_id: str | None = None
    anonymous_id: str | None = None
    placement: str = ""
    recommender: str = ""
    k: int | None = None
    context: Mapping[str, Any] = field(default_factory=dict)
    filters: Mapping[str, Sequence[Scalar]] = field(default_factory=dict)
    exclude: Sequence[str] = ()
    seed_items: Sequence[str] = ()
    fields: Sequence[str] | None = None
    person_token: str = ""
    signals: frozenset[Mark] = frozenset()
    """What the browser itself wishes: Sec-GPC, DNT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What a recommender needs of a person: weighted interactions, newest first, and its rules' items."""

    recents: Sequence[Interaction] = ()
    hidden: frozenset[str] = frozenset()
    only: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """Scores (n_items,) over the shelf and what they rest on."""

    scores: npt.NDArray[np.float32]
    taste: Taste | None

    @property
    def reason(self) -> str:
        """Why these items: `model`, or `popular` for an answer that is the same for everyone."""
        return "popular" if self.taste is None else "model"


def recommend(services: Services, ask: RecommendAsk, *, caller: Caller) -> dict[str, Any]:
    """Return the slate for one person or, when nothing may be used of them, the non-personal one.

    Raises
    ------
    ProblemError
        404 for an unknown placement, 422 for an unknown recommender.
    """
    recommender, k = _chosen(services, ask)
    people = persons_to_use(services, ask, caller=caller)
    serving = services.models.serving(services.store)
    history = read_history(services, people, recommender)
    mask = _allowed(serving, recommender, ask, history)
    ranked = rank(serving, recommender, history.recents, people=people, seeds=ask.seed_items)
    places = top_k(ranked.scores, mask, k)
    items = [_line(serving, ranked, ask, place=int(p), rank=r) for r, p in enumerate(places, 1)]
    version = serving.loaded.version if serving.loaded else ""
    slate = Slate(
        slate_id=f"sl_{secrets.token_urlsafe(16)}",
        person_id=people[0] if people else "",
        placement=ask.placement,
        recommender=recommender.key,
        model=version,
        reason=ranked.reason,
        items=_record(items),
        created_at=services.clock(),
    )
    services.meters.count("slates", ranked.reason)
    return {"slate_id": _keep(services, slate), "model": version, "reason": ranked.reason, "items": items}


def persons_to_use(services: Services, ask: RecommendAsk, *, caller: Caller) -> tuple[str, ...]:
    """Return whose history may be used: what the caller may see of what these people agreed to.

    Of a user that are also the accounts and anonymous ids that a server linked to it. Nobody, if any id that
    is named belongs to a person who refused, if the browser opts out, or while decisions cannot be read.
    """
    now = services.clock()
    visible = visible_person_ids(
        caller,
        user_id=ask.user_id,
        anonymous_id=ask.anonymous_id,
        token=ask.person_token,
        secret=services.settings.signing_secret,
        now=now,
    )
    rules = services.snapshots.current.loaded.data
    if not visible or (ask.signals and rules.respect_signals):
        return ()
    named = [p + i for p, i in (("u:", ask.user_id), ("a:", ask.anonymous_id)) if i]
    store = services.store
    try:
        (wish,) = services.wishes.of(store, [named], rules=rules, now=now)
        if not wish.personalize:
            return ()
        if len(visible) > 1:
            visible = _of_no_refuser(services, visible, rules=rules, now=now)
        linked = _linked(services, visible)
        wishes = services.wishes.of(store, [(one,) for one in linked], rules=rules, now=now)
    except StoreUnavailableError:
        logger().warning("wishes_unreadable")
        return ()
    return (*visible, *(one for one, wish in zip(linked, wishes, strict=True) if wish.personalize))


def _of_no_refuser(
    services: Services, visible: Sequence[str], *, rules: DataRules, now: datetime
) -> tuple[str, ...]:
    """Leave out a shared device whose other user refused: its past is not for whoever signs in now."""
    asked = replace(rules, unknown_consent=True)
    wishes = services.wishes.of(services.store, [(one,) for one in visible], rules=asked, now=now)
    return tuple(one for one, wish in zip(visible, wishes, strict=True) if wish.personalize)


def _linked(services: Services, visible: Sequence[str]) -> list[str]:
    """Return the other ids of the users among `visible`."""
    users = [person_id[2:] for person_id in visible if person_id.startswith("u:")]
    known = [known_as(services.store, user) for user in users]
    found = [f"u:{user}" for one in known for user in one.user_ids]
    found += [f"a:{device}" for one in known for device in one.anonymous_ids]
    return [person_id for person_id in found if person_id not in visible]


def read_history(services: Services, people: Sequence[str], recommender: Recommender) -> History:
    """Return what the persons did, as far as the recommender looks at it; nothing while the store is away.

    Views are many and purchases few, so each is read on its own: no number of the one displaces the other.
    An event that names a user and an anonymous id is stored under both and counted once here.
    """
    store, types = services.store, recommender.weights
    try:
        found = [i for person in people for i in store.recent_of_types(person, types, RECENTS)]
        hidden = _items(services, people, recommender.hide)
        only = _items(services, people, recommender.only)
    except StoreUnavailableError:
        logger().warning("history_unreadable")
        return History()
    distinct = {(i.item_id, i.event_type, i.occurred_at): i for i in found}
    recents = sorted(distinct.values(), key=lambda i: i.occurred_at, reverse=True)
    return History(recents=recents, hidden=hidden, only=only)


def _items(services: Services, people: Sequence[str], event_types: Collection[str]) -> frozenset[str]:
    if not event_types:
        return frozenset()
    return frozenset().union(*(services.store.items_of_types(person, event_types) for person in people))


def rank(
    serving: Serving,
    recommender: Recommender,
    history: Sequence[Interaction],
    *,
    people: Sequence[str] = (),
    seeds: Sequence[str] = (),
) -> Ranked:
    """Return a score for each item of the shelf: the person's own, or popularity."""
    taste = None
    if serving.loaded and recommender.rank_by is RankBy.MODEL and serving.loaded.model.personal:
        taste = _taste(serving.loaded, recommender, history, people=people, seeds=seeds)
    if serving.loaded is None:
        scores = np.zeros(0, dtype=np.float32)
    elif taste is None:
        scores = serving.loaded.model.popularity
    else:
        scores = personal_scores(serving.loaded.model, taste)
    return Ranked(scores=_on_shelf(serving, scores), taste=taste)


def _chosen(services: Services, ask: RecommendAsk) -> tuple[Recommender, int]:
    catalog = services.snapshots.current.loaded
    placement = catalog.placements.get(ask.placement)
    if ask.placement and placement is None:
        raise ProblemError(404, "unknown_placement", f"the catalog has no placement {ask.placement!r}")
    name = ask.recommender or (placement.recommender if placement else "")
    recommender = catalog.recommenders.get(name) if name else DEFAULT
    if recommender is None:
        where = Pointer("/recommender", f"the catalog has no recommender {name!r}")
        raise ProblemError(422, "invalid_body", "some members are missing or wrong", (where,))
    return recommender, ask.k or (placement.slots if placement else DEFAULT_K)


def _allowed(
    serving: Serving, recommender: Recommender, ask: RecommendAsk, history: History
) -> npt.NDArray[np.bool_]:
    only = history.only if recommender.only else None
    exclude = history.hidden.union(ask.exclude, ask.seed_items)
    return eligible(serving.shelf, filters=ask.filters, exclude=exclude, only=only)


def _taste(
    loaded: LoadedModel,
    recommender: Recommender,
    history: Sequence[Interaction],
    *,
    people: Sequence[str],
    seeds: Sequence[str],
) -> Taste | None:
    recents = [Recent(i.item_id, i.event_type, to_micros(i.occurred_at)) for i in history]
    # The stored vector counts only beside live history: what was erased must not speak through the model.
    known = next((v for p in people if (v := loaded.model.user_vector(p)) is not None), None)
    vector = known if history else None
    return taste_of(loaded.model, recents, weights=recommender.weights, seeds=seeds, user_vector=vector)


def _on_shelf(serving: Serving, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the scores of the shelf's items; one that the model has never seen gets the lowest."""
    place = serving.shelf.model_index
    if scores.size == 0:
        return np.zeros(place.size, dtype=np.float32)
    return np.where(place >= 0, scores[place], scores.min()).astype(np.float32)


def _line(serving: Serving, ranked: Ranked, ask: RecommendAsk, *, place: int, rank: int) -> dict[str, Any]:
    item = serving.shelf.items[place]
    names = item.fields if ask.fields is None else [n for n in ask.fields if n in item.fields]
    return {
        "item_id": item.item_id,
        "rank": rank,
        "score": round(float(ranked.scores[place]), 6),
        "propensity": CERTAIN,
        "reasons": _reasons(serving, ranked, ask, place),
        "fields": {name: item.fields[name] for name in names},
    }


def _reasons(serving: Serving, ranked: Ranked, ask: RecommendAsk, place: int) -> list[dict[str, str]]:
    model_index = int(serving.shelf.model_index[place])
    if ranked.taste is None or serving.loaded is None:
        return [{"reason": "popular"}]
    if model_index < 0:
        return []
    model = serving.loaded.model
    source = bytes(model.item_ids[because(model, ranked.taste, model_index)]).decode("utf-8")
    return [{"reason": "seed" if source in ask.seed_items else "history", "item_id": source}]


def _record(items: Sequence[Mapping[str, Any]]) -> str:
    kept = ("item_id", "rank", "score", "propensity")
    return orjson.dumps([{name: item[name] for name in kept} for item in items]).decode()


def _keep(services: Services, slate: Slate) -> str | None:
    """Store the slate and return its id; the page gets its answer even when the store cannot take it."""
    if services.slates.keep(services.store, slate):
        return slate.slate_id
    services.meters.count("slates_not_stored", slate.reason)
    return None
