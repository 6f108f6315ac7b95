"""The worker's part in actions: decide now and then, and send from a thread that nobody waits for."""

import random
import threading
import uuid

from service.catalog import CatalogError
from service.catalog.webhooks import Webhook
from service.clock import Clock
from service.settings import Settings, explicit
from service.storage.ports import Store
from service.use_cases.catalog_watch import Tell, quiet
from service.use_cases.decisions import Pass, Place, act_on_verdicts
from service.use_cases.judge import judged_catalog
from service.use_cases.launch import live_catalog
from service.use_cases.webhooks import Sender, finder

PATIENCE_S = 5.0


def new_message_id() -> str:
    """Return an id that no other message has."""
    return f"msg_{uuid.uuid4().hex}"


class Actor:
    """Decides over one store, and delivers its messages while `send` says so."""

    def __init__(self, settings: Settings, store: Store, *, clock: Clock, tell: Tell = quiet) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._tell = tell
        self._settled: dict[str, Place] = {}
        self._sender: Sender | None = None
        self._thread: threading.Thread | None = None

    def decide(self) -> int:
        """Record and do what the newest verdicts change; return how much that was."""
        revision, loaded = judged_catalog(self._store)
        return act_on_verdicts(
            Pass(
                store=self._store,
                revision=revision,
                loaded=loaded,
                public_url=self._settings.public_url,
                new_id=new_message_id,
                now=self._clock(),
                settled=self._settled,
                tell=self._tell,
            )
        )

    def send(self, *, wanted: bool) -> None:
        """Let the thread that sends run or not; one that is told to end does so within seconds."""
        if wanted and self._thread is None:
            self._sender = self._made()
            self._thread = threading.Thread(target=self._sender.run, name="webhooks", daemon=True)
            self._thread.start()
        elif not wanted and self._thread is not None and self._sender is not None:
            self._sender.stop()
            self._thread.join(PATIENCE_S)
            self._sender = self._thread = None

    def _made(self) -> Sender:
        find = finder(self._webhook, explicit, insecure=self._settings.insecure_webhooks)
        return Sender(self._store, find, clock=self._clock, random=random.random)

    def _webhook(self, name: str) -> Webhook | None:
        try:
            loaded = judged_catalog(self._store)[1]
        except CatalogError:
            # What was decided is still told, to whom the newest catalog that this code can read names.
            readable = live_catalog(self._store)
            return readable.webhooks.get(name) if readable else None
        return loaded.webhooks.get(name)
