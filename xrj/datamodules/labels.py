"""Labels by rule over the MeSH major terms of a report (the paper, section 4.1)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
        ConfigError: A rule without name or condition, with another key, or a name given twice.
    """
    rules = []
    for entry in config:
        terms = {
            key: frozenset(str(term).strip().casefold() for term in values)
            for key, values in entry.items()
            if key != "name" and isinstance(values, Sequence) and not isinstance(values, str)
        }
        if not entry.get("name") or not any(terms.values()) or set(entry) - {"name", "any", "only"}:
            raise ConfigError(
                f"data.labels: rule {dict(entry)} needs 'name' and a list 'any' or 'only' of "
                "MeSH terms"
            )
        rules.append(LabelRule(str(entry["name"]), **terms))
    names = [rule.name for rule in rules]
    if len(set(names)) < len(names) or not names:
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
