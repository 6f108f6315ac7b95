"""Erase a person: from the store first, then from the lake that is made of it."""

from collections.abc import Mapping, Sequence

from service.settings import Settings
from service.storage.ports import Store
from service.use_cases.identity import accounts_of, counts
from service.use_cases.services import Services


def delete_person(
    services: Services, *, user_id: str | None = None, anonymous_id: str | None = None
) -> Mapping[str, int]:
    """Erase everything that is known of one person; return rows by table."""
    return erase_person(
        services.store,
        services.settings,
        user_ids=[user_id] if user_id else [],
        anonymous_ids=[anonymous_id] if anonymous_id else [],
    )


def erase_person(
    store: Store, settings: Settings, *, user_ids: Sequence[str], anonymous_ids: Sequence[str]
) -> Mapping[str, int]:
    """Erase one person under every id given, the accounts merged with these, and devices of nobody else.

    A device that somebody else signed in on as well keeps that other person's events. The live model may have
    learned from the person until the next training; backups keep what they hold.
    """
    users = sorted(accounts_of(store, user_ids)) if user_ids else []
    anonymous = sorted({*anonymous_ids, *_devices(store, users)})
    erased = dict(store.delete_person((), user_ids=users, anonymous_ids=anonymous))
    lake = settings.lake
    if isinstance(lake, str) or lake.exists():
        # Arrow takes a while to load and web workers need it for nothing else.
        from service import lake as event_lake  # noqa: PLC0415
        from service.lake.partials import discard_kept  # noqa: PLC0415
        from service.use_cases.backup import sweep_unfinished  # noqa: PLC0415

        # After the log: an export that runs meanwhile is waited for, and then finds nothing to bring back.
        writable = event_lake.lake_at(lake, store)
        erased["lake"] = event_lake.erase(writable, user_ids=users, anonymous_ids=anonymous)
        discard_kept(settings.partials)
        sweep_unfinished(settings.home)
    return erased


def _devices(store: Store, users: Sequence[str]) -> set[str]:
    """Return the anonymous ids that these users signed in under and nobody else did, by links that count.

    Otherwise whoever holds the public key could have strangers erased, or keep somebody from being erased.
    """
    linked = {
        link.from_id for link in store.links_to(users) if link.from_id.startswith("a:") and counts(link)
    }
    shared = {link.from_id for link in store.links_from(linked) if link.user_id not in users and counts(link)}
    return {device[2:] for device in linked - shared}
