"""Whether the words of a caption state its label: a negation-aware rule labeller.

n-gram scores hardly see a missing "no"; this does. What counts as a statement is in the lexicon,
which comes from the configuration (`conf/lexicon/`).
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import yaml

from xrj.datamodules.text import normal_tree
from xrj.errors import ConfigError
from xrj.programs import CONF

Verdict = Literal["agrees", "contradicts", "silent"]
"""Of a caption about its label; see `verdict`."""
LIST_REACH = 8
"""Words of a list over which a negation reaches: "no effusion, pneumothorax or cardiomegaly"."""


@dataclass(frozen=True)
class Lexicon:
    """Compiled rules over a caption in lower case, words joined by single spaces.

    Attributes:
        implied: The label that is said by denying another one.
        denies: The labels that stating the implied one denies; a normal heart does not deny fluid.
        statements: For each label the pattern of its statements.
        denied_before: Pattern of a text that ends in a negation of what follows.
        denied_after: Pattern of a text that begins by denying what precedes.
    """

    implied: str
    denies: frozenset[str]
    statements: Mapping[str, re.Pattern[str]]
    denied_before: re.Pattern[str]
    denied_after: re.Pattern[str]

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Lexicon":
        """Compile `implied, parts, statements, negations, fillers, negations_after`.

        `denies` may be left out and then means all other labels.

        Raises:
            ConfigError: A key is missing, a pattern is no regular expression or uses an unknown
                part, or `implied` has no statements.
        """
        config = normal_tree(config)
        try:
            parts, implied = config["parts"], config["implied"]
            statements = {
                label: re.compile(rf"\b(?:{'|'.join(_expand(p, parts) for p in patterns)})\b")
                for label, patterns in config["statements"].items()
            }
            negation, filler = "|".join(config["negations"]), "|".join(config["fillers"])
            before = re.compile(
                rf"\b(?:{negation})(?:(?: \S+){{1,{LIST_REACH}}}? or)?(?: (?:{filler}))* $"
            )
            after = re.compile(rf"^ (?:{'|'.join(config['negations_after'])})\b")
            if implied not in statements:
                raise ConfigError(f"lexicon: implied={implied!r} has no statements; add some")
        except KeyError as error:
            raise ConfigError(f"lexicon: {error} is missing; see conf/lexicon") from error
        except re.error as error:
            raise ConfigError(f"lexicon: {error.pattern!r}: {error}; mend the pattern") from error
        denies = frozenset(config.get("denies", statements)) - {implied}
        return cls(implied, denies, statements, before, after)

    @classmethod
    def of_hearts(cls) -> "Lexicon":
        """Return the rules of `conf/lexicon/heart.yaml`, which are the configuration's default."""
        text = (CONF / "lexicon" / "heart.yaml").read_text(encoding="utf-8")
        return cls.from_config(yaml.safe_load(text))

    def knows(self, labels: Iterable[str]) -> bool:
        """Return whether it says how each of these labels is stated."""
        return set(labels) <= set(self.statements)

    def of(self, labels: Iterable[str]) -> "Lexicon":
        """Return what it says of these labels alone; a chain knows no others."""
        asked = set(labels)
        known = {label: text for label, text in self.statements.items() if label in asked}
        return replace(self, denies=self.denies & known.keys(), statements=known)


def _expand(pattern: str, parts: Mapping[str, str]) -> str:
    """Replace `{name}` by its part; `{0,4}` and the like are left to the regular expression."""
    return re.sub(r"\{([a-z]\w*)\}", lambda match: parts[match[1]], pattern)


def says(words: Sequence[str], lexicon: Lexicon) -> str | None:
    """Return the label that a caption states, None when it states none.

    An affirmed statement of any label other than the implied one counts most, the first of several;
    then the implied label, stated or by a denial of another.

    Args:
        words: The caption, without its label word.
        lexicon: What counts as a statement.
    """
    spoken = sorted(_spoken(words, lexicon))
    affirmed = [label for _, label, denied in spoken if not denied and label != lexicon.implied]
    if affirmed:
        return affirmed[0]
    implied = any(denied != (label == lexicon.implied) for _, label, denied in spoken)
    return lexicon.implied if implied else None


def contradicts_itself(words: Sequence[str], lexicon: Lexicon) -> bool:
    """Return whether a caption affirms a label and denies the same one."""
    spoken = list(_spoken(words, lexicon))
    affirmed, refused = ({label for _, label, no in spoken if no is said} for said in (False, True))
    return bool(affirmed & refused)


def verdict(words: Sequence[str], label: str, lexicon: Lexicon) -> Verdict:
    """Return whether a caption states its label, another or its denial, or none.

    To deny another label states the implied one and nothing of a third.

    Args:
        words: The caption, without its label word.
        label: Decoded or given with it; one that the lexicon knows.
        lexicon: What counts as a statement.
    """
    spoken = list(_spoken(words, lexicon))
    affirmed = {one for _, one, no in spoken if not no and one != lexicon.implied}
    denied = {one for _, one, no in spoken if no and one != lexicon.implied}
    if any(one == lexicon.implied and not no for _, one, no in spoken):
        denied |= lexicon.denies
    states = bool(denied) if label == lexicon.implied else label in denied
    if not affirmed and not states:
        return "silent"
    agrees = not affirmed if label == lexicon.implied else affirmed == {label}
    return "agrees" if agrees and not contradicts_itself(words, lexicon) else "contradicts"


def _spoken(words: Sequence[str], lexicon: Lexicon) -> Iterator[tuple[int, str, bool]]:
    """Yield where a caption speaks of a label, of which, and whether it denies it."""
    text = " ".join(words).lower()
    for label, pattern in lexicon.statements.items():
        for match in pattern.finditer(text):
            before, after = text[: match.start()], text[match.end() :]
            denied = lexicon.denied_before.search(before) or lexicon.denied_after.search(after)
            yield match.start(), label, bool(denied)


@dataclass(frozen=True)
class Agreement:
    """How many captions state their label, state another or deny their own, or state none."""

    agree: int
    contradict: int
    silent: int
    n: int

    @property
    def share(self) -> float:
        """Agreeing captions among those that state a label; NaN when none does."""
        speaking = self.agree + self.contradict
        return self.agree / speaking if speaking else float("nan")


def agreement(
    captions: Sequence[Sequence[str]], labels: Sequence[str], lexicon: Lexicon
) -> Agreement:
    """Compare what captions say with their labels.

    Args:
        captions: Words of each caption, without its label word.
        labels: The label decoded or given with each caption.
        lexicon: What counts as a statement.

    Raises:
        ValueError: The lengths differ.
    """
    verdicts = [
        verdict(words, label, lexicon) for words, label in zip(captions, labels, strict=True)
    ]
    return Agreement(
        verdicts.count("agrees"),
        verdicts.count("contradicts"),
        verdicts.count("silent"),
        len(verdicts),
    )
