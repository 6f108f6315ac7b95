"""What a language must say: the messages by id, how it counts, and how it writes numbers."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from experiments.errors import InvalidParameterError

Forms: TypeAlias = "str | Mapping[str, str]"
"""A sentence with gaps in braces; of a number ``{n}``, one for each form that the language counts in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """One language: a file of its own, and nothing outside of it knows an order of words.

    Attributes
    ----------
    code : str
        As in BCP 47: ``en``.
    messages : mapping of id to Forms
    form_of : function of a count
        The name of the form that a count takes: in English ``one`` or ``other``.
    whole, plain : function of a number
        A count; any other number.
    signed : function of a text and the number that it shows without sign
        The text with its sign.
    share : function of a fraction
        As per cent, with one digit after the point.
    rate : function of a fraction
        As per cent, with two.
    points : function of a fraction
        As percentage points, without their name.
    short_share : function of a fraction
        As per cent without useless zeros.
    money : function of an amount and a currency
    listed, joined, either : function of some phrases
        One phrase: a list, with "and", or with "or".
    """

    code: str
    messages: Mapping[str, Forms]
    form_of: Callable[[int], str]
    whole: Callable[[int], str]
    plain: Callable[[float], str]
    signed: Callable[[str, float], str]
    share: Callable[[float], str]
    rate: Callable[[float], str]
    points: Callable[[float], str]
    short_share: Callable[[float], str]
    money: Callable[[float, str], str]
    listed: Callable[[Iterable[str]], str]
    joined: Callable[[Sequence[str]], str]
    either: Callable[[Sequence[str]], str]

    def say(self, message_id: str, /, *, n: int | None = None, **parts: str) -> str:
        """Return a message with its gaps filled.

        Parameters
        ----------
        message_id : str
            One of `messages`.
        n : int or None
            The number that decides about the form; it fills the gap ``{n}``.
        **parts : str
            What fills the other gaps.

        Returns
        -------
        str

        Raises
        ------
        InvalidParameterError
            If the language has no such message, or not this form of it.

        Examples
        --------
        >>> from experiments.wording.en import ENGLISH
        >>> ENGLISH.say("units", n=1), ENGLISH.say("units", n=1200)
        ('1 unit', '1,200 units')
        """
        forms = self.messages.get(message_id)
        if isinstance(forms, Mapping):
            forms = None if n is None else forms.get(self.form_of(n))
        if forms is None:
            raise InvalidParameterError(f"{self.code} has no message {message_id!r} for {n=}")
        number = {} if n is None else {"n": self.whole(n)}
        return forms.format(**number, **parts)
