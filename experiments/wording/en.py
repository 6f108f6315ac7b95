"""English: every sentence of a verdict, its plurals and its numbers. Another language is such a file too."""

from collections.abc import Iterable, Mapping, Sequence

from experiments.wording.language import Forms, Language

MESSAGES: Mapping[str, Forms] = {
    # The word, and what to do now.
    "headline.ship": "Ship {variant}: switch it on for everybody.",
    "headline.rollback": "Roll back {variant}: switch it off.",
    "headline.keep_running": "Keep running: it is not decided yet; look again whenever you like.",
    "headline.no_effect": "No effect as large as {mde}: stop it, and keep whichever variant you like better.",
    "headline.inconclusive": "Inconclusive: it has ended without an answer. {otherwise}",
    "headline.untrustworthy": "Do not act on this experiment: its data cannot be trusted.",
    # Checks.
    "checks.passed": {"one": "The one check passed.", "other": "All {n} checks passed."},
    "checks.some": {
        "one": "{passed} of {n} check passed, none raised an alarm.",
        "other": "{passed} of {n} checks passed, none raised an alarm.",
    },
    "checks.warning": "Look at this: {detail}",
    "checks.advice": "What to do: {advice}",
    "checks.more": {
        "one": "{n} more check raises an alarm: {checks}.",
        "other": "{n} more checks raise an alarm: {checks}.",
    },
    "checks.no_result": "No result is read from these data, whatever they seem to say.",
    # Guardrails.
    "guardrails": "Guardrails: {guardrails}.",
    "guardrail.safe": "{metric} is within its limit ({bound} at worst, {limit} allowed)",
    "guardrail.worse": "{metric} is worse than its limit ({bound} at best, {limit} allowed)",
    "guardrail.not_yet_known": (
        "{metric} is not yet known to be within its limit ({bound} at worst, {limit} allowed)"
    ),
    "guardrail.burn_in": "{metric} has no bound before {missing} ({limit} allowed)",
    "guardrail.unbounded": "{metric} is not yet known to be within its limit (no bound yet, {limit} allowed)",
    "guardrails.level": {
        "one": "This bound holds in at least {level} of experiments, however often you look.",
        "other": "Each of these bounds holds in at least {level} of experiments, however often you look.",
    },
    # The primary metric.
    "since": "After {days} and {units}, ",
    "primary.none": "{since}{metric} has no closed day yet.",
    "primary": "{since}{means}: {interval}{state}.",
    "primary.means": "{metric} is {treatment} with {variant} and {control} with {other}",
    "primary.too_few": "{since}{means}; that is too few for an interval.",
    "primary.burn_in": "{since}{means}; there is no interval before {missing}.",
    "primary.valid": (
        "This interval stays valid however often you look: over all looks together it misses the truth in at "
        "most {level} of experiments."
    ),
    "primary.valid.several": (
        "These intervals stay valid however often you look: of the treatments called better or worse, at "
        "most {level} are not, on average."
    ),
    "primary.adjusted": (
        "This difference is adjusted for what each unit did before it was exposed, which takes away "
        "{removed} of the variance; unadjusted it is {interval}."
    ),
    "state.better": ", which is better",
    "state.worse": ", which is worse",
    "state.no_effect": ", too little to matter",
    "state.not_yet_known": ", which may still be chance",
    "state.burn_in": "",
    "state.exploratory": ", which was not planned",
    "interval": "{estimate} ({level} confidence sequence {low} to {high})",
    "interval.short": "{estimate} ({low} to {high})",
    "interval.none": "{estimate} (no interval: nothing varies yet)",
    "interval.burn_in": "{estimate} (no interval before {missing})",
    "burn_in.units": "{needed} units in each variant, with {so_far} so far",
    "burn_in.values": "{needed} units with a value in each variant, with {so_far} so far",
    "burn_in.carriers": "{needed} units that carry its sum, with {so_far} so far",
    "burn_in.denominators": "{needed} units that carry what it is divided by, with {so_far} so far",
    "burn_in.rest": "{needed} cases that do not count, with {so_far} so far",
    "interval.no_low": "no lower limit",
    "interval.no_high": "no upper limit yet",
    "interval.unknown": "unknown",
    "interval.absolute": "{interval} in absolute terms (a lift over nothing is undefined)",
    # Everything beside it.
    "others": "Other treatments: {others}.",
    "other": "{variant} {interval}{state}",
    "secondary": {
        "one": "Secondary metric, with a {level} confidence sequence: {metrics}.",
        "other": "Secondary metrics, each with a {level} confidence sequence: {metrics}.",
    },
    "secondary.several": {
        "one": (
            "Secondary metric, with a {level} confidence sequence, since {family} such comparisons are made "
            "together: {metrics}."
        ),
        "other": (
            "Secondary metrics, each with a {level} confidence sequence, since {family} such comparisons are "
            "made together: {metrics}."
        ),
    },
    # Beside the evidence: what was not planned, what it is worth, whether it is the last word.
    "changed": "Changed while running: {metrics}. All of its events were counted again in the new way.",
    "changed.metric": "{metric} is measured in another way since revision {revision}",
    "exploratory": {
        "one": "Exploratory, added after the launch, so that no rule looks at it: {metrics}.",
        "other": "Exploratory, added after the launch, so that no rule looks at them: {metrics}.",
    },
    "money": (
        "Money, by {metric}: a unit with {variant} brings {per_unit} against one of control; over {units} "
        "that is {so_far}."
    ),
    "money.projected": {
        "one": "In {n} day at full traffic and the recent pace ({units}): {amount}.",
        "other": "In {n} days at full traffic and the recent pace ({units}): {amount}.",
    },
    "money.no_pace": (
        "At full traffic it is not known: no day of the last week tells which share of all units took part."
    ),
    "money.costs": "What {variant} costs, {cost} a unit, is taken off.",
    "money.free": "No costs were declared for it.",
    "money.no_margin": "This is revenue: no margin and no costs were declared.",
    "money.no_costs": "What the variants cost was not declared.",
    "money.holds": "{metric} of each analysed unit, up to {window} after its first exposure",
    "money.holds_less": "{metric} of each analysed unit saved, up to {window} after its first exposure",
    "money.holds.costs": "the declared cost of each exposed unit",
    "money.lacks.later": "what units do later than {window} after their first exposure",
    "money.lacks.cap": "what a unit has above {cap}, where the metric is capped",
    "money.lacks.costs": "what the variants cost: no costs were declared",
    "money.lacks.goods": "what goods and incentives cost, unless the events had taken it off",
    "money.lacks.fixed": "what it costs to build and to run, whoever sees it",
    "final": (
        "This verdict is final: the experiment was stopped, every window has ended, and later events change "
        "nothing."
    ),
    # Why.
    "why": "Why: {reason}.",
    "why.guardrail_worse": "{guardrails} is worse than its limit",
    "why.guardrails_worse": "{guardrails} are worse than their limits",
    "why.primary_worse": "{metric} is worse than with {control}",
    "why.primary_better": "{metric} is better, and at least {runtime}",
    "why.primary_better.guarded": (
        "{metric} is better, no guardrail is worse than its limit, and at least {runtime}"
    ),
    "why.ship_when": "`ship_when` of the plan holds ({leaves}), and at least {runtime}",
    "why.rollback_when": "`rollback_when` of the plan holds ({leaves})",
    "why.rules_not_met": (
        "a difference is shown, but the plan asks for more: neither `ship_when` nor `rollback_when` holds "
        "({leaves})"
    ),
    "why.within_mde": (
        "the whole interval of {metric} lies between -{mde} and +{mde}, the smallest effect of interest"
    ),
    "why.ended_without_answer": "neither a difference nor its absence is shown, and no more will come in",
    "why.no_data": "no unit has been exposed yet",
    "why.burn_in": "the data are too few for any conclusion",
    "why.min_runtime": "nothing is decided before {runtime}, so that every day of the week is in it",
    "why.not_yet_known": "neither a difference nor its absence is shown yet",
    "why.primary_not_planned": (
        "{metric} was not the primary metric when this phase was begun, so no rule looks at it; begin a new "
        "phase, or make the planned one primary again"
    ),
    "leaf": "{metric} is {state}",
    "otherwise.keep_control": "Keep {control}, as planned for this case.",
    "word.better": "better",
    "word.worse": "worse",
    "word.no_effect": "without effect",
    "word.safe": "within its limit",
    "word.not_yet_known": "not yet known",
    "word.burn_in": "short of data",
    # What comes next.
    "next.days": {
        "one": (
            "If the true lift is {mde}, about {n} more day at this pace gives a chance of {power} to see it "
            "(by {needed} of {control} and {variant})."
        ),
        "other": (
            "If the true lift is {mde}, about {n} more days at this pace give a chance of {power} to see it "
            "(by {needed} of {control} and {variant})."
        ),
    },
    "next.long": "That is long: let more units in, or plan for a larger lift.",
    "next.units": (
        "If the true lift is {mde}, there is a chance of {power} to see it by {needed} of {control} and "
        "{variant}."
    ),
    "next.beyond": (
        "Units enough for a chance of {power} to see a lift of {mde} are in: the true one is probably "
        "smaller, or there is none. Stop it if a smaller one does not matter."
    ),
    "next.larger": (
        "To try again: {needed} of {control} and {variant} give a chance of {power} to see a true lift of "
        "{mde}."
    ),
    "next.decided.rule": "The primary metric is decided; `{rule}` still waits for {missing}.",
    "next.decided.runtime": "The primary metric is decided; what is waited for is the shortest runtime.",
    "next.decided.others": "The primary metric is decided for {variant}, not yet for every other treatment.",
    "missing.be": "{metric} to be {state}",
    "missing.not_be": "{metric} not to be {state}",
    "missing.any_guardrail": "any guardrail",
    # The account, and what is not known.
    "account": {
        "one": "Of {exposed}, {n} is analysed{left}.",
        "other": "Of {exposed}, {n} are analysed{left}.",
    },
    "account.left": "; {parts}",
    "account.multiple_variants": {
        "one": "{n} ({share}) saw several variants and was left out",
        "other": "{n} ({share}) saw several variants and were left out",
    },
    "account.without_event": {
        "one": "{n} did nothing that the metric is about",
        "other": "{n} did nothing that the metric is about",
    },
    "account.immature": {
        "one": "{n} is still inside the metric's window",
        "other": "{n} are still inside the metric's window",
    },
    "unknown": "Not known: {parts}.",
    "unknown.guardrail": "whether {metric} is within its limit",
    "unknown.later": "what units do later than {window} after their first exposure",
    # Words for numbers of things.
    "units": {"one": "{n} unit", "other": "{n} units"},
    "units.analysed": {"one": "{n} analysed unit", "other": "{n} analysed units"},
    "units.exposed": {"one": "{n} exposed unit", "other": "{n} exposed units"},
    "days": {"one": "{n} day", "other": "{n} days"},
    "passed.days": {"one": "{n} day has passed", "other": "{n} days have passed"},
    "hours": {"one": "{n} hour", "other": "{n} hours"},
    "passed.hours": {"one": "{n} hour has passed", "other": "{n} hours have passed"},
    "minutes": {"one": "{n} minute", "other": "{n} minutes"},
    "passed.minutes": {"one": "{n} minute has passed", "other": "{n} minutes have passed"},
    "seconds": {"one": "{n} second", "other": "{n} seconds"},
    "passed.seconds": {"one": "{n} second has passed", "other": "{n} seconds have passed"},
    "points": "{number} percentage points",
    "score_points": "{number} points",
    "median": "{metric} (median)",
    "quantile": "{metric} ({share} quantile)",
}


def _form_of(n: int) -> str:
    return "one" if n == 1 else "other"


def _whole(n: int) -> str:
    return f"{n:,}"


def _plain(value: float) -> str:
    return f"{value:,.4g}"


def _signed(text: str, value: float) -> str:
    """Return the text of a size with the sign of its value; what is written as zero is not below zero."""
    below = value < 0 and any(digit in text for digit in "123456789")
    return f"{'-' if below else '+'}{text}"


def _share(value: float) -> str:
    return f"{100 * value:,.1f} %"


def _rate(value: float) -> str:
    return f"{100 * value:,.2f} %"


def _points(value: float) -> str:
    return f"{100 * value:,.2f}"


def _short_share(value: float) -> str:
    return f"{100 * value:.4g} %"


def _money(value: float, currency: str) -> str:
    return f"{value:,.2f} {currency}"


def _listed(parts: Iterable[str]) -> str:
    return "; ".join(parts)


def _joined(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), *parts[-1:]] if len(parts) > 1 else parts)


def _either(parts: Sequence[str]) -> str:
    return " or ".join([", ".join(parts[:-1]), *parts[-1:]] if len(parts) > 1 else parts)


ENGLISH = Language(
    code="en",
    messages=MESSAGES,
    form_of=_form_of,
    whole=_whole,
    plain=_plain,
    signed=_signed,
    share=_share,
    rate=_rate,
    points=_points,
    short_share=_short_share,
    money=_money,
    listed=_listed,
    joined=_joined,
    either=_either,
)
