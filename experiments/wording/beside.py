"""What a verdict says beside its evidence: what was not planned, what it is worth, whether it is the last."""

from experiments.definitions import Direction, MetricKind
from experiments.estimates import Estimate, Reading
from experiments.money import PROJECTED_DAYS, Earned, Money
from experiments.wording.amounts import interval_of, name_of, time_of
from experiments.wording.language import Language
from experiments.wording.story import Story, quoted


def changed(story: Story) -> str:
    """Say which metrics are measured in another way than at the launch."""
    told = [
        story.language.say(
            "changed.metric", metric=name_of(story.language, story.case.metrics[key]), revision=str(revision)
        )
        for key, revision in sorted(story.case.evidence.changed.items())
    ]
    return story.language.say("changed", metrics=story.language.listed(told)) if told else ""


def exploratory(story: Story) -> str:
    """Say what metrics show that nobody had planned; no rule looks at them."""
    told = [
        story.language.say(
            "other",
            variant=name_of(story.language, reading.metric),
            interval=interval_of(story.language, reading, brief=True),
            state=_state(story.language, reading),
        )
        for reading in story.case.readings
        if reading.exploratory
        and reading.variant == story.variant
        and reading.metric.key != story.case.primary.key
        and reading.estimate is not None
    ]
    if not told:
        return ""
    return story.language.say("exploratory", n=len(told), metrics=story.language.listed(told))


def _state(language: Language, reading: Reading) -> str:
    return "" if reading.margin is not None else language.say(f"state.{reading.state.value}")


def money(story: Story) -> str:
    """Say what the treatment earns, once there is an interval."""
    found = story.money
    if found is None:
        return ""
    earned = found.of(story.variant)
    if earned.per_unit.lower is None and earned.per_unit.upper is None:
        return ""
    say = story.language.say
    level = story.language.short_share(1 - earned.level)
    told = [
        say(
            "money",
            metric=name_of(story.language, found.metric),
            variant=quoted(story.variant),
            per_unit=_amount(story.language, found, earned.per_unit, level=level),
            so_far=_amount(story.language, found, earned.so_far),
            units=say("units.analysed", n=earned.units),
        ),
        *_projection(story, found, earned),
        _costs(story, found, earned),
    ]
    return " ".join(told)


def _projection(story: Story, found: Money, earned: Earned) -> list[str]:
    if earned.projected is None or found.pace_units is None:
        return [story.language.say("money.no_pace")]
    return [
        story.language.say(
            "money.projected",
            n=PROJECTED_DAYS,
            amount=_amount(story.language, found, earned.projected),
            units=story.language.say("units", n=found.pace_units),
        )
    ]


def _costs(story: Story, found: Money, earned: Earned) -> str:
    if not found.declared:
        return story.language.say(
            "money.no_costs" if found.metric.kind is MetricKind.MARGIN else "money.no_margin"
        )
    if not earned.extra_cost:
        return story.language.say("money.free")
    cost = _signed(story.language, found, earned.extra_cost)
    return story.language.say("money.costs", cost=cost, variant=quoted(story.variant))


def _amount(language: Language, found: Money, amount: Estimate, *, level: str = "") -> str:
    centre, low, high = (
        None if end is None else _signed(language, found, end)
        for end in (amount.estimate, amount.lower, amount.upper)
    )
    parts = {
        "estimate": centre or language.say("interval.unknown"),
        "low": low or language.say("interval.no_low"),
        "high": high or language.say("interval.no_high"),
    }
    if level:
        return language.say("interval", n=None, level=level, **parts)
    return language.say("interval.short", n=None, **parts)


def _signed(language: Language, found: Money, value: float) -> str:
    return language.signed(language.money(abs(value), found.metric.currency), value)


def included(language: Language, found: Money) -> tuple[str, ...]:
    """Return what the amounts hold, one sentence for each thing."""
    metric = found.metric
    name, window = name_of(language, metric), time_of(language, metric.window_s)
    falls = "money.holds_less" if metric.direction is Direction.DOWN else "money.holds"
    return (
        language.say(falls, metric=name, window=window),
        *([language.say("money.holds.costs")] if found.declared else []),
    )


def not_included(language: Language, found: Money) -> tuple[str, ...]:
    """Return what the amounts do not hold, one sentence for each thing."""
    metric = found.metric
    missing = [language.say("money.lacks.later", window=time_of(language, metric.window_s))]
    if metric.cap is not None:
        missing.append(language.say("money.lacks.cap", cap=language.money(metric.cap, metric.currency)))
    if not found.declared:
        missing.append(language.say("money.lacks.costs"))
    if metric.kind is MetricKind.MEAN:
        missing.append(language.say("money.lacks.goods"))
    missing.append(language.say("money.lacks.fixed"))
    return tuple(missing)


def final(story: Story) -> str:
    """Say that nothing will change the verdict any more."""
    return story.language.say("final") if story.final else ""
