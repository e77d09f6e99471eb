"""What a user's text means, however it was written and saved."""

import unicodedata
from collections.abc import Mapping
from typing import Any

_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufeff"))
_NOTHING = frozenset({"", "na", "n/a", "nan", "none", "null"})


def normal(text: str) -> str:
    """Return the text in Unicode's composed form (NFC), so that one word has one spelling.

    Invisible characters that split words go (soft hyphens, zero-width spaces); halves of surrogate
    pairs, which JSON may hold and no file can, become replacement characters.
    """
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return unicodedata.normalize("NFC", whole.translate(_INVISIBLE))


def normal_tree(value: Any) -> Any:
    """Return nested dictionaries and lists with each text in them as `normal` gives it."""
    if isinstance(value, str):
        return normal(value)
    if isinstance(value, Mapping):
        return {normal_tree(key): normal_tree(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [normal_tree(item) for item in value]
    return value


def is_empty(text: str) -> bool:
    """Say whether a cell holds nothing, or what programs write for nothing (`NaN`, `null`)."""
    return text.strip().casefold() in _NOTHING


def folded(name: str) -> str:
    """Return what names that differ in case or spaces alone have in common."""
    return " ".join(normal(name).casefold().split())


def short(text: str, most: int = 80) -> str:
    """Return a user's text as it is shown in a message: on one line, cut to `most` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[:most]}..."


def listed(numbers: Mapping[str, int], most: int = 8) -> str:
    """Return names with their numbers, the most frequent first and no more than `most`."""
    ranked = sorted(numbers.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"'{short(name)}' ({number:,})" for name, number in ranked[:most])
    return f"{shown} and {len(ranked) - most:,} more" if len(ranked) > most else shown
