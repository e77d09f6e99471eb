"""Settings that are text: which hold names, which paths, and what a command line says of them.

Hydra's grammar gives many signs a meaning and reads 2024_01 as a number. Here the values of
settings that are text are quoted for that grammar, so that they arrive as they were written.
"""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Self, get_args, get_origin

from omegaconf import MISSING, DictConfig, OmegaConf

from xrj.errors import ConfigError

NAME, PATH = "name", "path"
_QUOTED = re.compile(r"""(['"])((?:\\.|(?!\1)[^\\])*)\1""", re.DOTALL)
_DOLLAR = re.compile(r"(\\*)\$\{(?:([\w.]+)\}|(?:oc\.\w+|hydra):[^{}]*\})?")
_FUNCTION = re.compile(r"(choice|glob|range|interval|shuffle|sort|tag)\((.*)\)", re.DOTALL)


def a_name(default: Any = MISSING) -> Any:
    """Declare a setting, typed Any, that holds a name or several: text, whatever it looks like.

    For a setting typed `str` OmegaConf would make text of what YAML takes for a number, and 202401
    of 2024_01.
    """
    return field(default=default, metadata={"text": NAME})


def a_path(default: Any = MISSING) -> Any:
    """Declare a setting, typed Any, that holds a path, in which ~ stands for the home folder."""
    return field(default=default, metadata={"text": PATH})


@dataclass(frozen=True)
class Setting:
    """How a setting is declared.

    Attributes:
        kind: `NAME` or `PATH`; None for others.
        text: Whether its value, or each of a list, is text.
        many: Whether it is a list.
        optional: Whether it may be null.
    """

    kind: str | None
    text: bool
    many: bool
    optional: bool

    @classmethod
    def of(cls, declared: Any) -> Self:
        """Return that of a field of a schema."""
        kind, origin = declared.metadata.get("text"), get_origin(declared.type)
        inner = declared.type is str or (origin is not dict and str in get_args(declared.type))
        return cls(kind, bool(kind) or inner, origin is list, declared.default is None)


def settings(schema: type, prefix: str = "") -> Iterator[tuple[str, Setting]]:
    """Yield all settings of a schema with their keys, such as "data.root"."""
    for declared in fields(schema):
        key = f"{prefix}{declared.name}"
        if isinstance(declared.type, type) and is_dataclass(declared.type):
            yield from settings(declared.type, f"{key}.")
        else:
            yield key, Setting.of(declared)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return "did you mean X? " for a mistyped word, or nothing where none of the known is near.

    Keys whose last parts are near are near, too: widht and gan1.width.
    """
    lasts = {key: key.rpartition(".")[2] for key in known}
    found = [key for key, last in lasts.items() if last == word]
    if not (found := found or get_close_matches(word, lasts, 1)):
        close = get_close_matches(word.rpartition(".")[2], {*lasts.values()}, 1, 0.75)
        found = [key for key, last in lasts.items() if last in close]
    return f"did you mean {' or '.join(found[:4])}? " if found else ""


def home(path: str) -> str:
    """Put the home folder in the place of ~, where there is one."""
    return os.path.expanduser(path)  # noqa: PTH111  # Path's raises where there is none


def expand_home(cfg: DictConfig, schema: type) -> None:
    """Put the home folder in the place of ~ in every setting that is a path."""
    for key, setting in settings(schema):
        value = OmegaConf.select(cfg, key) if setting.kind == PATH else None
        if isinstance(value, str) and value.startswith("~"):
            OmegaConf.update(cfg, key, _without_interpolation(home(value)))


def quote(arguments: list[str], schema: type) -> list[str]:
    """Quote the values of a command line's settings that are text, so that Hydra changes none.

    A path may hold any sign. In a multirun commas separate values as everywhere; a path that holds
    one is whole where it, or a folder on the way to it, exists under that name, and a value in
    quotes is whole, too. `${key}` of a setting stays an interpolation unless such a path exists.

    Raises:
        ConfigError: Several names, outside a multirun.
    """
    declared = dict(settings(schema))
    multirun = any(
        argument == "-m"
        or (len(argument) > 3 and "--multirun".startswith(argument))
        or argument.upper() == "HYDRA.MODE=MULTIRUN"
        for argument in arguments
    )
    quoted = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        setting = declared.get(key.lstrip("+"))
        if equals and value.strip() and setting and setting.text:
            argument = f"{key}={_Value(key.lstrip('+'), setting, declared, multirun).quoted(value)}"
        quoted.append(argument)
    return quoted


@dataclass(frozen=True)
class _Value:
    key: str
    setting: Setting
    declared: dict[str, Setting]
    multirun: bool

    def quoted(self, value: str) -> str:
        path = self.setting.kind == PATH
        if path and (not self.multirun or _exists(value) or _there(value, ",")):
            return self._one(value)
        function = _FUNCTION.fullmatch(value)
        if self.multirun and function and function[1] == "choice":
            value = function[2]
        elif self.multirun and function:
            return value
        if self.setting.many:
            return self._lists(value)
        parts = _parts(value)
        if len(parts) > 1 and not self.multirun:
            raise ConfigError(
                f"{self.key}={value}: several values need -m; if it is one, put it in further "
                f"quotes: \"{self.key}='{value}'\""
            )
        return ",".join(map(self._one, parts))

    def _lists(self, value: str) -> str:
        """Return a list, or those of a multirun; what has no brackets is a list, too."""
        if value.startswith("${"):
            return value
        parts = _parts(value, brackets=True) if self.multirun else [value.strip()]
        inner = [part[1:-1] if part[:1] == "[" and part[-1:] == "]" else part for part in parts]
        return ",".join(
            f"[{','.join(map(self._one, _parts(one))) if one.strip() else ''}]" for one in inner
        )

    def _one(self, text: str) -> str:
        """Return one value in quotes."""
        if self.setting.optional and text.lower() == "null":
            return "null"
        path = self.setting.kind == PATH
        if not (path and _exists(text)) and (match := _QUOTED.fullmatch(text)):
            ends = rf"(\\*)({match[1]}|\Z)"
            text = re.sub(ends, lambda end: end[1][: len(end[1]) // 2] + end[2], match[2])
        if path:
            text = self._interpolations(text)
        text = re.sub(r"(\\*)('|\Z)", lambda end: 2 * end[1] + ("\\'" if end[2] else ""), text)
        return f"'{text}'"

    def _interpolations(self, path: str) -> str:
        """Escape every `${` of a path that begins no interpolation."""
        if _there(path, "${"):
            return _without_interpolation(path)

        def escaped(match: re.Match[str]) -> str:
            key = match[2]
            known = match[0].endswith("}") if key is None else key in self.declared
            return match[0] if known or len(match[1]) % 2 else _without_interpolation(match[0])

        return _DOLLAR.sub(escaped, path)


def _without_interpolation(text: str) -> str:
    r"""Escape text so that OmegaConf takes it as it is: `\${` is no interpolation."""
    return re.sub(r"(\\*)\$\{", lambda match: 2 * match[1] + r"\${", text)


def _exists(text: str) -> bool:
    return os.path.lexists(home(text))


def _there(text: str, sign: str) -> bool:
    """Return whether a path, or a folder on the way to it that has the sign in its name, exists."""
    path = Path(home(text))
    return any(sign in str(place) and os.path.lexists(place) for place in (path, *path.parents))


def _parts(value: str, *, brackets: bool = False) -> list[str]:
    """Split at commas that are neither in quotes nor, where they count, in brackets."""
    parts, depth, quote, escaped = [""], 0, "", False
    for sign in value:
        if quote:
            quote = "" if sign == quote and not escaped else quote
            escaped = sign == "\\" and not escaped
        elif sign in "'\"" and not parts[-1].strip(" ["):
            quote = sign
        elif sign == "," and not depth:
            parts.append("")
            continue
        elif brackets:
            depth += {"[": 1, "]": -1}.get(sign, 0)
        parts[-1] += sign
    return [part.strip() for part in parts]
