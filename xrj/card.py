"""The card of a model that is handed on: what it is, what it learned from, how good it is."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

Rows = Sequence[tuple[str, str, str]]
"""Of measures: name, value with its interval, of how many."""


def write_card(
    name: str,
    model: Mapping[str, Any],
    about: Mapping[str, Any],
    measures: Rows,
    further: Mapping[str, Any] | None,
) -> str:
    """Return the card as Markdown, below the front matter that hubs read.

    Args:
        name: Of the model.
        model: As `JustificationModel.card`.
        about: licence, learned_from, source, words and failures, as `conf/card/` has them.
        measures: Of the report on its test split; none where it was not made.
        further: Other measures, nested by what they are of.
    """
    front = {
        "license": about["licence"].lower(),
        "library_name": "xrj",
        "tags": ["chest-x-ray", "counterfactual-explanation", "image-captioning"],
    }
    number, labels = model["trained_on"], model["labels"]
    learned = f"{number:,} {about['learned_from']}" if number else about["learned_from"]
    small, large = model["sizes"]
    parts = [
        f"---\n{yaml.safe_dump(front, sort_keys=False)}---",
        f"# {name}",
        f"A frontal chest X-ray in; out come a diagnosis ({', '.join(labels)}) with its certainty, "
        "a caption, and the X-ray redrawn under the nearest alternative diagnosis, with checks of "
        "all of it. Made with xrj, after Spinks & Moens, *Justifying Diagnosis Decisions by Deep "
        "Neural Networks* (2019).",
        f'```python\nimport xrj\n\nmodel = xrj.load("{name}")  # or the path of this folder\n'
        'model.justify("xray.png").save("out")\n```',
        "## What it learned from",
        f"Trained on {learned}. It reads X-rays at {small} pixels a side and draws at {large}.",
        *(about[key] for key in ("source", "words") if about[key]),
        "## What it is for",
        "Research on justified diagnoses, and a first look at what xrj does. It is no medical "
        "device: nothing that it says may decide about a patient. Children, laterals and X-rays of "
        "other parts are not for it.",
    ]
    if about["failures"]:
        parts += ["## Known failures", "\n".join(f"* {one}" for one in about["failures"])]
    if measures:
        parts += [
            "## On its test split",
            "Intervals are 95 % intervals.",
            _table(("measure", "value", "of how many"), measures),
        ]
    if further:
        rows = [(path, shown) for path, shown in _flat(further, "")]
        parts += ["## Further measures", _table(("measure", "value"), rows)]
    parts += [
        "## Licence",
        f"Weights: {about['licence']}. The X-rays are not part of the model.",
    ]
    return "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _flat(value: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    for key, item in value.items():
        name = f"{path}, {key}" if path else key
        if isinstance(item, Mapping):
            yield from _flat(item, name.replace("_", " "))
        else:
            shown = f"{item:.3f}" if isinstance(item, float) else f"{item}"
            yield name.replace("_", " "), shown
