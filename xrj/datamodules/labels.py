"""Labels by rule over the MeSH major terms of a report (the paper, section 4.1)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xrj.datamodules.records import Counts
from xrj.datamodules.text import folded, listed, normal, short
from xrj.errors import ConfigError


@dataclass(frozen=True)
class LabelRule:
    """When a report has a label; heads are MeSH terms up to the first `/`, in any case.

    Attributes:
        name: The label.
        any: At least one head is among these; empty for no such condition.
        only: Every head is among these, and there is one; empty for no such condition.
    """

    name: str
    any: frozenset[str] = frozenset()
    only: frozenset[str] = frozenset()

    def matches(self, heads: frozenset[str]) -> bool:
        """Say whether a report with these lower-case heads has the label."""
        has_any = not self.any or bool(heads & self.any)
        return bool(heads) and has_any and (not self.only or heads <= self.only)


PAPER_RULES = (
    LabelRule("normal", only=frozenset({"normal"})),
    LabelRule("cardiomegaly", any=frozenset({"cardiomegaly"})),
)


def label_rules(config: Sequence[Mapping[str, Any]]) -> tuple[LabelRule, ...]:
    """Read rules from the configuration, such as `{name: cardiomegaly, any: [cardiomegaly]}`.

    Raises:
        ConfigError: A rule without name or condition, with another key, or a name given twice (in
            whatever case).
    """
    rules = []
    for entry in config:
        terms = {
            key: frozenset(normal(str(term)).strip().casefold() for term in values)
            for key, values in entry.items()
            if key != "name" and isinstance(values, Sequence) and not isinstance(values, str)
        }
        if not entry.get("name") or not any(terms.values()) or set(entry) - {"name", "any", "only"}:
            raise ConfigError(
                f"data.labels: rule {dict(entry)} needs 'name' and a list 'any' or 'only' of "
                "MeSH terms"
            )
        rules.append(LabelRule(normal(str(entry["name"])).strip(), **terms))
    names = [rule.name for rule in rules]
    if len(set(map(folded, names))) < len(names) or not names:
        raise ConfigError(f"data.labels: the names {names} must be distinct and at least one")
    return tuple(rules)


def assign(mesh: Sequence[str], rules: Sequence[LabelRule]) -> str | None:
    """Return the label of the one rule that matches; None when none or several do.

    So each image stands for one label alone, as in the paper, which leaves out the images that
    would have two.
    """
    heads = frozenset(head for term in mesh if (head := term.split("/")[0].strip().casefold()))
    names = [rule.name for rule in rules if rule.matches(heads)]
    return names[0] if len(names) == 1 else None


def match_labels(
    source: Path, numbers: Mapping[str, int], labels: Sequence[str], counts: Counts
) -> dict[str, str]:
    """Find which of the configured labels each label of a source means, in whatever case.

    Args:
        source: Named in notes.
        numbers: How often each label occurs, as written.
        labels: The names in the configuration.
        counts: Gets the labels that mean none of them, and notes on these and on what was guessed.

    Returns:
        The configured name of each label that means one.
    """
    names = {folded(label): label for label in labels}
    chosen = {
        label: label if label in labels else names[folded(label)]
        for label in numbers
        if label in labels or folded(label) in names
    }
    counts.other = {label or "empty": numbers[label] for label in numbers if label not in chosen}
    if guessed := [label for label in chosen if chosen[label] != label]:
        counts.notes.append(
            f"{source}: {sum(numbers[label] for label in guessed):,} labels are spelled otherwise "
            f"than in data.labels, such as '{short(guessed[0])}' for '{chosen[guessed[0]]}'"
        )
    several = several_in_one(counts.other, labels)
    if several:
        counts.notes.append(
            f"{source}: {sum(several.values()):,} labels name several and count as another one: "
            f"{listed(several, 3)}; give each image one label"
        )
    if others := {label: n for label, n in counts.other.items() if label not in several}:
        counts.notes.append(f"{source}: labels that data.labels does not name: {listed(others)}")
    return chosen


def several_in_one(numbers: Mapping[str, int], labels: Sequence[str]) -> dict[str, int]:
    """Return the labels, with their numbers, that name several, one of `labels` among them."""
    names = {folded(label) for label in labels}
    return {
        label: number
        for label, number in numbers.items()
        if len(parts := re.split(r"[;|,/+&]", label)) > 1
        and any(folded(part) in names for part in parts)
    }


def one_each(numbers: Mapping[str, int], labels: Sequence[str]) -> str:
    """Return what to add to an error where labels lack because cells name several; or nothing."""
    several = several_in_one(numbers, labels)
    return (
        f"; {sum(several.values()):,} name several labels: give each image one" if several else ""
    )
