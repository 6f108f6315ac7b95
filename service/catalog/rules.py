"""What a catalog says about data: what may come in, and how long it stays."""

from dataclasses import dataclass, field

from service.storage.ports import Keep


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRules:
    """The `data:` part of a catalog; without one these defaults hold.

    `client_revenue`: may events of a client key carry money? `unknown_consent`: does somebody who never
    decided count as having agreed? `respect_signals`: do Sec-GPC and DNT keep events out of personalization?
    """

    client_revenue: bool = False
    unknown_consent: bool = True
    respect_signals: bool = True
    keep: Keep = field(default_factory=Keep)
