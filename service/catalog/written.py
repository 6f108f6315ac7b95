"""Plain data as the text of a catalog file."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_-]*( [A-Za-z0-9_-]+)*|[0-9]+(\.[0-9]+)?%", re.ASCII)
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
WIDTH = 110


class _Dumper(yaml.SafeDumper):
    """Quotes whatever some reader of YAML could take for something else than text."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML's signature
        """Write everything out: a catalog has no aliases."""
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if plain else '"')


_Dumper.add_representer(str, _text)


def as_yaml(data: Mapping[str, Any]) -> str:
    """Return `data` as YAML that the catalog reads back unchanged.

    Examples
    --------
    >>> print(as_yaml({"flag": "dark", "value": "on", "share": "5%"}), end="")
    flag: dark
    value: "on"
    share: 5%
    """
    return yaml.dump(dict(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=WIDTH)
