"""Whether the words of a caption state its label: a negation-aware rule labeller.

n-gram scores hardly see a missing "no"; this does. What counts as a statement is in the lexicon,
which comes from the configuration (`conf/lexicon/`).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xrj.errors import ConfigError

LIST_REACH = 8
"""Words of a list over which a negation reaches: "no effusion, pneumothorax or cardiomegaly"."""


@dataclass(frozen=True)
class Lexicon:
    """Compiled rules over a caption in lower case, words joined by single spaces.

    Attributes:
        implied: The label that is said by denying another one.
        statements: For each label the pattern of its statements.
        denied_before: Pattern of a text that ends in a negation of what follows.
        denied_after: Pattern of a text that begins by denying what precedes.
    """

    implied: str
    statements: Mapping[str, re.Pattern[str]]
    denied_before: re.Pattern[str]
    denied_after: re.Pattern[str]

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Lexicon":
        """Compile `implied, parts, statements, negations, fillers, negations_after`.

        Raises:
            ConfigError: A key is missing, a pattern is no regular expression or uses an unknown
                part, or `implied` has no statements.
        """
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
        return cls(implied, statements, before, after)


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
    text = " ".join(words).lower()
    first: tuple[int, str] | None = None
    implied = False
    for label, pattern in lexicon.statements.items():
        for match in pattern.finditer(text):
            denied = bool(
                lexicon.denied_before.search(text[: match.start()])
                or lexicon.denied_after.search(text[match.end() :])
            )
            if label == lexicon.implied:
                implied |= not denied
            elif denied:
                implied = True
            elif first is None or match.start() < first[0]:
                first = (match.start(), label)
    if first is not None:
        return first[1]
    return lexicon.implied if implied else None


@dataclass(frozen=True)
class Agreement:
    """How many captions state their label, state another, or state none."""

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
    stated = [(says(words, lexicon), label) for words, label in zip(captions, labels, strict=True)]
    silent = sum(said is None for said, _ in stated)
    agree = sum(said == label for said, label in stated)
    return Agreement(agree, len(stated) - agree - silent, silent, len(stated))
