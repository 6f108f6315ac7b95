"""One plain paragraph that an analyst can paste: checks, guardrails, primary, secondary, then what to do."""

from collections.abc import Callable, Mapping
from typing import Any

from experiments.checks.finding import CheckState
from experiments.decision import Case, Decision, Outcome, Rule
from experiments.definitions import Direction, Guardrail
from experiments.estimates import Estimate, Reading
from experiments.money import Money
from experiments.states import DECIDED, MetricState, Role
from experiments.wording import beside
from experiments.wording.amounts import (
    bound_of,
    interval_of,
    is_open,
    limit_of,
    mean_of,
    missing_for,
    name_of,
    time_of,
    unadjusted_interval_of,
)
from experiments.wording.en import ENGLISH
from experiments.wording.language import Language
from experiments.wording.story import Story, quoted
from experiments.wording.waiting import missing_of

DAY_S = 86_400
LONG_DAYS = 60
SPLIT = "srm"
LEFT_OUT = ("multiple_variants", "without_event", "immature")
FINAL = frozenset({Decision.SHIP, Decision.ROLLBACK, Decision.NO_EFFECT, Decision.INCONCLUSIVE})


def paragraph(
    case: Case,
    outcome: Outcome,
    forecast: Mapping[str, Any],
    *,
    money: Money | None = None,
    final: bool = False,
    language: Language = ENGLISH,
) -> str:
    """Return the verdict in words, in the order of evidence.

    Parameters
    ----------
    case : Case
        What was seen.
    outcome : Outcome
        What was decided.
    forecast : mapping
        The ``forecast`` member of the verdict.
    money : Money or None
        What the treatments earn.
    final : bool
        Whether nothing will change the verdict any more.
    language : Language
        English unless given.

    Returns
    -------
    str
        Sentences in one line; names in back-quotes, as in Markdown.

    Examples
    --------
    >>> ENGLISH.say("headline.ship", variant="`banner`")
    'Ship `banner`: switch it on for everybody.'
    """
    story = Story(
        language=language,
        case=case,
        outcome=outcome,
        forecast=forecast,
        money=money,
        final=final,
        variant=outcome.variant or case.focus(),
    )
    if outcome.decision is Decision.UNTRUSTWORTHY:
        sections: tuple[Callable[[Story], str], ...] = (_headline, _alarms, _account, beside.final)
    elif outcome.rule == Rule.NO_DATA:
        sections = (_headline, _why)
    else:
        sections = (
            _headline, _why, _checks, beside.changed, _guardrails, _primary, _others, _secondary,
            beside.exploratory, beside.money, _next, _account, _unknown, beside.final,
        )  # fmt: skip
    return " ".join(text for text in (section(story) for section in sections) if text)


def _headline(story: Story) -> str:
    plan = story.case.experiment.decide
    return story.language.say(
        f"headline.{story.outcome.decision.value}",
        variant=quoted(story.variant),
        mde=story.mde(),
        otherwise=story.language.say(f"otherwise.{plan.at_end_otherwise}", control=quoted(story.control)),
    )


# --- why


def _why(story: Story) -> str:
    say, plan = story.language.say, story.case.experiment.decide
    reason = say(
        f"why.{_reason(story)}",
        metric=name_of(story.language, story.case.primary),
        guardrails=story.language.joined(_worse_guardrails(story)),
        control=quoted(story.control),
        runtime=time_of(story.language, plan.min_runtime_s, message="passed."),
        leaves=_leaves(story),
        mde=story.mde(),
    )
    return say("why", reason=reason)


def _reason(story: Story) -> str:
    rule = story.outcome.rule
    if rule == Rule.PRIMARY_BETTER and story.case.experiment.metrics.guardrails:
        return f"{rule}.guarded"
    if rule == Rule.GUARDRAIL_WORSE and len(_worse_guardrails(story)) > 1:
        return "guardrails_worse"
    return str(rule)


def _worse_guardrails(story: Story) -> list[str]:
    return [
        name_of(story.language, r.metric)
        for r in story.case.guardrails(story.variant)
        if r.state is MetricState.WORSE
    ]


def _leaves(story: Story) -> str:
    language, metrics = story.language, story.case.metrics
    seen = [
        language.say("leaf", metric=name_of(language, metrics[key]), state=language.say(f"word.{state}"))
        for one in story.outcome.inputs
        if one.rule in (Rule.SHIP_WHEN, Rule.ROLLBACK_WHEN)
        for key, state in one.values.items()
    ]
    return language.listed(dict.fromkeys(seen))


# --- checks


def _alarms(story: Story) -> str:
    say, alarms = story.language.say, [f for f in story.case.findings if f.state is CheckState.ALARM]
    first, *more = alarms
    told = [first.detail]
    told += [say("checks.advice", advice=first.advice)] if first.advice else []
    if more:
        names = story.language.listed(f"`{found.check}`" for found in more)
        told.append(say("checks.more", n=len(more), checks=names))
    return " ".join([*told, say("checks.no_result")])


def _checks(story: Story) -> str:
    say, findings = story.language.say, story.case.findings
    passed = sum(f.state is CheckState.OK for f in findings)
    n = len(findings)
    whole = story.language.whole(passed)
    parts = [say("checks.passed", n=n) if passed == n else say("checks.some", n=n, passed=whole)]
    parts += [f.detail for f in findings if f.check == SPLIT and f.state is not CheckState.WARNING]
    for found in findings:
        if found.state is CheckState.WARNING:
            parts.append(say("checks.warning", detail=found.detail))
            parts += [say("checks.advice", advice=found.advice)] if found.advice else []
    return " ".join(parts)


# --- guardrails


def _guardrails(story: Story) -> str:
    say = story.language.say
    limits = [(r, r.margin) for r in story.case.guardrails(story.variant) if r.margin is not None]
    if not limits:
        return ""
    told = story.language.listed(_guardrail(story, reading, margin) for reading, margin in limits)
    parts = [say("guardrails", guardrails=told)]
    bounded = sum(reading.state is not MetricState.BURN_IN for reading, _margin in limits)
    if bounded:
        level = story.language.short_share(1 - story.case.experiment.analysis.alpha)
        parts.append(say("guardrails.level", n=bounded, level=level))
    return " ".join(parts)


def _guardrail(story: Story, reading: Reading, margin: Guardrail) -> str:
    language, metric = story.language, reading.metric
    shown = (reading.lift if margin.relative else reading.effect) or Estimate(None)
    falls = metric.direction is Direction.DOWN
    worst, best = (shown.upper, shown.lower) if falls else (shown.lower, shown.upper)
    bound = best if reading.state is MetricState.WORSE else worst
    unbounded = bound is None and reading.state is MetricState.NOT_YET_KNOWN
    return language.say(
        "guardrail.unbounded" if unbounded else f"guardrail.{reading.state.value}",
        missing="" if reading.burn_in is None else missing_for(language, reading.burn_in),
        metric=name_of(language, metric),
        bound="" if bound is None else bound_of(language, metric, margin, bound),
        limit=limit_of(language, metric, margin),
    )


# --- the primary metric and what is beside it


def _primary(story: Story) -> str:
    say, case = story.language.say, story.case
    control, treatment = case.reading(story.control), case.reading(story.variant)
    n = sum(case.reading(v.key).n for v in case.experiment.variants)
    days = say("days", n=case.runtime_s // DAY_S)
    since = say("since", days=days, units=say("units.analysed", n=n))
    if control.estimate is None or treatment.estimate is None:
        return say("primary.none", since=since, metric=name_of(story.language, case.primary))
    means = say(
        "primary.means",
        metric=name_of(story.language, case.primary),
        treatment=mean_of(story.language, case.primary, treatment.estimate),
        control=mean_of(story.language, case.primary, control.estimate),
        variant=quoted(story.variant),
        other=quoted(story.control),
    )
    if treatment.burn_in is not None:
        missing = missing_for(story.language, treatment.burn_in)
        return say("primary.burn_in", since=since, means=means, missing=missing)
    if is_open(treatment):
        return say("primary.too_few", since=since, means=means)
    interval = interval_of(story.language, treatment)
    told = [say("primary", since=since, means=means, interval=interval, state=_state(story, treatment))]
    told += [_adjusted(story, treatment), _valid(story, treatment)]
    return " ".join(text for text in told if text)


def _valid(story: Story, reading: Reading) -> str:
    language = story.language
    if reading.level is None or reading.p_value is None:
        return ""
    if len(story.case.treatments) == 1:
        return language.say("primary.valid", level=language.short_share(reading.level))
    alpha = story.case.experiment.analysis.alpha
    return language.say("primary.valid.several", level=language.short_share(alpha))


def _state(story: Story, reading: Reading) -> str:
    if reading.role is Role.PRIMARY and reading.exploratory:
        return story.language.say("state.exploratory")
    return story.language.say(f"state.{reading.state.value}")


def _adjusted(story: Story, reading: Reading) -> str:
    adjusted = reading.adjusted
    if adjusted is None:
        return ""
    removed = story.language.short_share(round(1 - adjusted.variance_ratio, 2))
    interval = unadjusted_interval_of(story.language, reading, adjusted)
    return story.language.say("primary.adjusted", removed=removed, interval=interval)


def _others(story: Story) -> str:
    readings = [story.case.reading(v) for v in story.case.treatments if v != story.variant]
    told = [
        story.language.say(
            "other",
            variant=quoted(r.variant),
            interval=interval_of(story.language, r, brief=True),
            state=_state(story, r),
        )
        for r in readings
        if r.estimate is not None
    ]
    return story.language.say("others", others=story.language.listed(told)) if told else ""


def _secondary(story: Story) -> str:
    family = [r for r in story.case.readings if _is_secondary(r)]
    readings = [r for r in family if r.variant == story.variant]
    told = [
        story.language.say(
            "other",
            variant=name_of(story.language, r.metric),
            interval=interval_of(story.language, r, brief=True),
            state=_state(story, r),
        )
        for r in readings
        if r.estimate is not None
    ]
    if not told:
        return ""
    level = readings[0].level or 0.0
    shared = level < story.case.experiment.analysis.alpha
    return story.language.say(
        "secondary.several" if shared else "secondary",
        n=len(told),
        level=story.language.short_share(1 - level),
        family=story.language.whole(len(family)),
        metrics=story.language.listed(told),
    )


def _is_secondary(reading: Reading) -> bool:
    return reading.role is Role.SECONDARY and reading.level is not None and not reading.exploratory


# --- what comes next


def _next(story: Story) -> str:
    language, decision, forecast = story.language, story.outcome.decision, story.forecast
    needed, days = forecast.get("needed_units"), forecast.get("days_left")
    if story.outcome.rule == Rule.PRIMARY_NOT_PLANNED:
        return ""
    if decision is Decision.KEEP_RUNNING and story.case.reading(story.variant).state in DECIDED:
        return _decided(story)
    waiting = decision is Decision.KEEP_RUNNING and story.outcome.rule != Rule.MIN_RUNTIME
    if needed is None or not (waiting or decision is Decision.INCONCLUSIVE):
        return ""

    def say(message_id: str, n: int | None = None) -> str:
        return language.say(
            message_id,
            n=n,
            mde=story.mde(),
            power=story.power(),
            needed=language.say("units", n=int(needed)),
            control=quoted(story.control),
            variant=quoted(story.variant),
        )

    if decision is Decision.INCONCLUSIVE:
        return say("next.larger")
    if days is not None:
        return " ".join([say("next.days", int(days)), *([say("next.long")] if days > LONG_DAYS else [])])
    return say("next.beyond" if forecast["analysed_units"] >= needed else "next.units")


def _decided(story: Story) -> str:
    """Say what is waited for although the primary metric of the treatment is decided."""
    say, rule, plan = story.language.say, story.outcome.rule, story.case.experiment.decide
    if rule == Rule.MIN_RUNTIME:
        return say("next.decided.runtime")
    if rule == Rule.NOT_YET_KNOWN:
        return say("next.decided.others", variant=quoted(story.variant))
    worse = story.case.reading(story.variant).state is MetricState.WORSE
    name, asked = ("rollback_when", plan.rollback_when) if worse else ("ship_when", plan.ship_when)
    missing = missing_of(story.language, story.case, asked, story.variant)
    return say("next.decided.rule", rule=name, missing=missing) if missing else ""


# --- the account, and what is not known


def _account(story: Story) -> str:
    language, account = story.language, story.case.evidence.account
    exposed = account.n_exposed
    if not exposed:
        return ""
    left = [
        language.say(f"account.{reason}", n=n, share=language.share(n / exposed))
        for reason in LEFT_OUT
        if (n := account.excluded.get(reason, 0))
    ]
    return language.say(
        "account",
        n=sum(account.analysed.values()),
        exposed=language.say("units.exposed", n=exposed),
        left=language.say("account.left", parts=language.listed(left)) if left else "",
    )


def _unknown(story: Story) -> str:
    if story.outcome.decision not in FINAL:
        return ""
    language, case = story.language, story.case
    parts = [
        language.say("unknown.guardrail", metric=name_of(language, r.metric))
        for r in case.guardrails(story.variant)
        if r.state in (MetricState.NOT_YET_KNOWN, MetricState.BURN_IN)
    ]
    parts.append(language.say("unknown.later", window=time_of(language, case.primary.window_s)))
    return language.say("unknown", parts=language.listed(parts))
