"""Findings that a caption affirms or denies, and how well they are those of the reports.

A missing "no" hardly moves an n-gram score and turns a report around; here it counts as wrong. The
rules are small: they know a negation's reach over a list ("no pneumothorax, effusion or
consolidation") and what follows ("effusion is not seen"), not the grammar of English.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xrj.datamodules.text import normal_tree
from xrj.errors import ConfigError
from xrj.measures.agreement import Lexicon

Polarity = Mapping[str, bool]
"""Whether each finding that is spoken of is said to be there."""


@dataclass(frozen=True)
class FindingLexicon:
    """Compiled rules over a caption in lower case, words joined by single spaces.

    Attributes:
        hearts: What counts as a statement of a label; those that it denies are findings, too.
        patterns: Of each further finding.
        denied: Pattern of a negation with all that it denies, or of findings with a denial after.
    """

    hearts: Lexicon
    patterns: Mapping[str, re.Pattern[str]]
    denied: re.Pattern[str]

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "FindingLexicon":
        """Compile `findings, modifiers` and what `Lexicon.from_config` takes.

        Raises:
            ConfigError: A key is missing or a pattern is no regular expression.
        """
        config = normal_tree(config)
        hearts = Lexicon.from_config(config)
        try:
            findings = {name: "|".join(several) for name, several in config["findings"].items()}
            between = "|".join([*config["fillers"], *config["modifiers"]])
            negation = "|".join([*config["negations"], *config["negations_of_findings"]])
            labels = [
                pattern.pattern.removeprefix(r"\b").removesuffix(r"\b")
                for label, pattern in hearts.statements.items()
                if label in hearts.denies
            ]
            item = rf"(?:{'|'.join([*findings.values(), *labels])})"
            loose, also = rf"(?: (?:{between}))*", "(?: (?:or|nor|and))"
            several = rf"{item}(?:(?:{loose} {item})*(?:{also}{loose} {item})+)?"
            after = "|".join([*config["negations_after"], *config["negations_after_findings"]])
            before, behind = (
                rf"(?:{negation}){loose} {several}",
                rf"{item}(?:{also}{loose} {item})*",
            )
            return cls(
                hearts,
                {name: re.compile(rf"\b(?:{text})\b") for name, text in findings.items()},
                re.compile(rf"\b(?:{before}|{behind} (?:{after}))\b"),
            )
        except KeyError as error:
            raise ConfigError(f"lexicon: {error} is missing; see conf/lexicon") from error
        except re.error as error:
            raise ConfigError(f"lexicon: {error.pattern!r}: {error}; mend the pattern") from error


def findings_of(caption: str, lexicon: FindingLexicon) -> dict[str, bool]:
    """Return what a caption says of each finding; one that is both affirmed and denied is there.

    Args:
        caption: Lower case, words joined by single spaces.
        lexicon: What counts as a finding.
    """
    denied = [match.span() for match in lexicon.denied.finditer(caption)]
    hearts = lexicon.hearts
    said: dict[str, bool] = {}
    others = {label: text for label, text in hearts.statements.items() if label in hearts.denies}
    for name, pattern in {**lexicon.patterns, **others}.items():
        for match in pattern.finditer(caption):
            inside = any(low <= match.start() and match.end() <= high for low, high in denied)
            said[name] = said.get(name, False) or not inside
    if any(
        not hearts.denied_before.search(caption[: match.start()])
        and not hearts.denied_after.search(caption[match.end() :])
        for match in hearts.statements[hearts.implied].finditer(caption)
    ):
        said = dict.fromkeys(others, False) | said
    return said


@dataclass(frozen=True)
class FindingCounts:
    """Findings of captions against those of their reports, image by image, (N,) each.

    Attributes:
        right: Said as the report says it.
        said: Said at all.
        true: Said by the report.
        flipped: Said the other way round than by the report.
    """

    right: NDArray[np.int64]
    said: NDArray[np.int64]
    true: NDArray[np.int64]
    flipped: NDArray[np.int64]

    def scores(self, rows: NDArray[np.int64]) -> dict[str, float]:
        """Return precision, recall and F1 over all findings of some rows; NaN where undefined.

        "flipped" is the share of what is said whose opposite the report says.
        """
        right, said, true, flipped = (
            int(counts[rows].sum()) for counts in (self.right, self.said, self.true, self.flipped)
        )
        return {
            "finding_precision": right / said if said else float("nan"),
            "finding_recall": right / true if true else float("nan"),
            "finding_f1": 2 * right / (said + true) if said + true else float("nan"),
            "flipped": flipped / said if said else float("nan"),
        }


def count_findings(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], lexicon: FindingLexicon
) -> FindingCounts:
    """Compare what captions say with what all captions of the report say together.

    Args:
        hypotheses: One an image, lower case, words joined by single spaces.
        references: Of each image, at least one.
        lexicon: What counts as a finding.

    Raises:
        ValueError: The lengths differ.
    """
    rows = []
    for caption, texts in zip(hypotheses, references, strict=True):
        said, true = findings_of(caption, lexicon), dict[str, bool]()
        for text in texts:
            for name, there in findings_of(text, lexicon).items():
                true[name] = true.get(name, False) or there
        shared = [said[name] == true[name] for name in said.keys() & true.keys()]
        rows.append((sum(shared), len(said), len(true), len(shared) - sum(shared)))
    return FindingCounts(*np.array(rows, dtype=np.int64).reshape(-1, 4).T)
