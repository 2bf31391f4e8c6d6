# SPDX-License-Identifier: Apache-2.0
"""Check of the values that a command line gives to a config's keys: no code, and the same kind as in the config."""

import re
from collections.abc import Mapping
from typing import Any

from lungcad.errors import InputError
from lungcad.printable import printable

PLUMBING = ("imports", "initialize", "run", "finalize")
"""Keys that define what is executed, which the command line must not change."""
SEVERAL_NAMES = re.compile(r"cases_dir|(hard_)?candidates|(second_|imagenet_)?weights|start_from")
"""Keys whose value may be a name, a list of names or None."""
CODE = ("$", "%", "@")
"""First characters of a string that MONAI takes for Python, a piece of another file, or another key."""
WORDS = {bool: "true or false", float: "a number", list: "a list", dict: "options by name", str: "text"}
"""Expected kind of a value in words, by type."""


def carries_code(value: Any) -> bool:
    """Whether MONAI would evaluate a value, or anything within it, or build an object from it.

    Text is checked as given and as fire decodes it, which resolves escapes such as that of a dollar sign.
    """
    return _is_code(value) or _is_code(decoded(value))


def decoded(value: Any) -> Any:
    """Value of a command-line argument as fire decodes it."""
    from fire.parser import DefaultParseValue

    return DefaultParseValue(value) if isinstance(value, str) else value


def check_kind(key: str, value: Any, default: Any) -> None:
    """Refuse a value of another kind than the config's default; a default of null, an expression or an object fits all.

    Raises:
        InputError: E-CONFIG.
    """
    if key in PLUMBING and default is not None:
        text = f"--{key} would change what is executed, not a value (expected another key)."
        raise InputError("E-CONFIG", text, "Put it into a config file of your own and add it to --config_file.")
    kind, given = _kind(default), decoded(value)
    if kind is None or given is None:
        return
    fits = {
        bool: isinstance(given, bool | str), float: _kind(given) is float,
        list: isinstance(given, list | tuple | str), dict: isinstance(given, Mapping),
        str: not isinstance(given, list | tuple | set | Mapping)
        or (isinstance(given, list | tuple) and len(given) > 0 and bool(SEVERAL_NAMES.fullmatch(key))),
    }  # fmt: skip
    if not fits[kind]:
        raise InputError("E-CONFIG", f"--{key} is {printable(value, 80)} (expected {WORDS[kind]}).")


def default_of(config: Mapping[str, Any], key: str) -> Any:
    """Value of a key in a config, or of a nested one (``detect::stride``, ``detect#stride``); None without one."""
    value: Any = config.get(key)
    if value is None:
        value = config
        for part in re.split(r"::|#", key):
            value = value.get(part) if isinstance(value, Mapping) else None
    return value


def switches(overrides: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, bool]:
    """Overrides given as the word true or false, in any case, of keys that are true or false in the config, as such.

    Fire takes ``True`` and ``False`` alone for more than text, and any text counts as true.
    """
    given = {key: str(value).lower() for key, value in overrides.items() if isinstance(default_of(config, key), bool)}
    return {key: word == "true" for key, word in given.items() if word in ("true", "false")}


def _kind(value: Any) -> type | None:
    """Kind of a config's value: a key of WORDS, or None where any value fits."""
    if isinstance(value, bool):
        return bool
    if isinstance(value, int | float):
        return float
    if isinstance(value, str):
        return None if value.startswith(CODE) else str
    if isinstance(value, dict):
        return None if "_target_" in value else dict
    return list if isinstance(value, list) else None


def _is_code(value: Any) -> bool:
    """Whether a value, or anything within it, begins with one of CODE or names a ``_target_``."""
    if isinstance(value, Mapping):
        return any(_is_code(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple | set | frozenset):
        return any(map(_is_code, value))
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return text.lstrip().startswith(CODE) or "_target_" in text
