"""Errors of the experiments room: one base, one leaf for each thing a caller can do wrong."""


class ExperimentError(Exception):
    """Base of every error raised by `experiments`."""


class InvalidParameterError(ExperimentError):
    """An argument lies outside its documented domain."""


class InvalidDefinitionError(ExperimentError):
    """A definition contradicts itself.

    Attributes
    ----------
    path : tuple of str or int
        Where inside the definition, so that a loader can point at file, line and column.
    code : str
        Stable code such as ``E310``; see ``service/catalog/codes.py``.
    hint : str
        What to do about it; may be empty.
    """

    def __init__(
        self, message: str, *, path: tuple[str | int, ...] = (), code: str = "E300", hint: str = ""
    ) -> None:
        super().__init__(message)
        self.path = path
        self.code = code
        self.hint = hint


class UnknownFlagError(ExperimentError):
    """No flag or experiment has that key."""
