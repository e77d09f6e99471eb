"""The evidence of one justification as a list for people, read from its JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from xrj.justify.evidence import CHANGED
from xrj.justify.wording import percent

Status = Literal["pass", "fail", "not measured", "measured"]
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Check:
    """A row of the list.

    Attributes:
        name: What was checked.
        status: "measured" where a number is given and nothing was asked of it.
        result: What was found, in one sentence.
    """

    name: str
    status: Status
    result: str


@dataclass(frozen=True)
class Group:
    """The checks that answer one question."""

    question: str
    checks: Sequence[Check]


def checklist(record: Record) -> list[Group]:
    """Return all checks of a justification's JSON form, failed or not."""
    return [
        Group("Can the network read this X-ray?", _readable(record)),
        Group("Is the alternative valid?", _validity(record)),
        Group("How close does it stay to the X-ray?", _closeness(record)),
        Group("Does the right thing change?", _change(record)),
        Group("Do the captions say it?", _captions(record)),
    ]


def _readable(record: Record) -> list[Check]:
    frontal, unlike = record["evidence"]["frontal"], record["evidence"]["unlike"]
    name = "A frontal chest: one heart between two lungs"
    seen = "Found." if frontal else "Not found."
    if frontal is None:
        chest = Check(name, "not measured", "The X-ray is too small.")
    else:
        chest = Check(name, _status(frontal), seen)
    name = "Like the X-rays that the network learned from"
    if unlike is None and not record["model"].get("tells_unlike"):
        return [chest, Check(name, "not measured", "This model cannot tell.")]
    look = {None: "No difference found.", "unlike": "It differs."}
    alike = Check(name, _status(unlike is None), look.get(unlike, f"It seems to be {unlike}."))
    return [chest, alike]


def _validity(record: Record) -> list[Check]:
    other, evidence = record["alternative"], record["evidence"]
    target = other["diagnosis"]
    effort = f"{count(other['tries'], 'try', 'tries')}, {other['evaluations']} evaluations"
    checks = [
        Check(
            "Search for the alternative",
            _status(other["converged"]),
            f"{'Found' if other['converged'] else 'Not found'} after {effort}.",
        )
    ]
    judges = {
        "decoder": "Numbers behind picture 3, read by the network",
        "reencoded": "Picture 3 itself, read by the network",
        "independent": "Picture 3, read by an independent classifier",
        "on_xray": "The alternative on the X-ray, read by the network",
        "on_xray_independent": "The alternative on the X-ray, read by an independent classifier",
    }
    for judge, name in judges.items():
        agrees, certainty = evidence["validity"][judge], evidence["certainty"][judge]
        if agrees is None:
            checks.append(Check(name, "not measured", "This model has no classifier."))
        else:
            checks.append(Check(name, _status(agrees), _vote(certainty, target)))
    second, name = record["classifier"], "The X-ray, read by an independent classifier"
    if second is None:
        checks.append(Check(name, "not measured", "This model has no classifier."))
    else:
        agrees = second["diagnosis"] == record["diagnosis"]
        checks.append(Check(name, _status(agrees), _vote(second["certainty"], record["diagnosis"])))
    return checks


def _closeness(record: Record) -> list[Check]:
    refinement, evidence = record["refinement"], record["evidence"]
    distance, redrawn = evidence["distance"], evidence["reconstruction"]
    fitted = "It was not fitted to the X-ray."
    if refinement is not None:
        fitted = (
            f"Mean square error {refinement['error_after']:.3f}; "
            f"{refinement['error_before']:.3f} before refining what does not touch the diagnosis."
        )
    return [
        Check(
            "What picture 2 leaves out of the X-ray",
            _status(redrawn["unexplained"] <= redrawn["allowed"]),
            f"{percent(redrawn['unexplained'])} of its variance; "
            f"at most {percent(redrawn['allowed'])} is asked.",
        ),
        Check("Picture 2 against the X-ray", "measured" if refinement else "not measured", fitted),
        Check("Picture 3 against picture 2", "measured", _distance(distance["reconstruction"])),
        Check(
            "Picture 3 against the X-ray",
            "measured",
            f"{_distance(distance['original'])} Holds the error of redrawing, too.",
        ),
        Check(
            "Way from 2 to 3 in the network's numbers",
            "measured",
            f"{distance['embedding']:.2f} in those that decide diagnosis and caption, "
            f"{distance['noise']:.2f} in the others.",
        ),
    ]


def _change(record: Record) -> list[Check]:
    evidence = record["evidence"]
    share, ctr = evidence["change"]["heart_share"], evidence["ctr"]
    checks = []
    name = "Change inside the heart and its border"
    if share is None:
        checks.append(Check(name, "not measured", "Borders unclear in a picture, or no change."))
    else:
        asked = ctr is not None and ctr["towards"] is not None and ctr["direction"] != 0
        status = _status(share >= 0.5) if asked else "measured"
        checks.append(Check(name, status, f"{percent(share)} of all change."))
    checks.append(
        Check(
            "Pixels that change visibly",
            "measured",
            f"{percent(evidence['change']['changed_share'])}, by more than {CHANGED} of 255 grey "
            "levels.",
        )
    )
    name = "Width of the heart over width of the chest (CTR)"
    if ctr is None:
        checks.append(Check(name, "not measured", "The pictures are too small."))
        return checks
    said = {
        name: "not measured" if ctr[name] is None else f"{ctr[name]:.2f}"
        for name in ("original", "reconstruction", "alternative")
    }
    found = (
        f"{said['reconstruction']} in picture 2, {said['alternative']} in picture 3; "
        f"{said['original']} in the X-ray."
    )
    if not ctr["confident"]:
        checks.append(Check(name, "not measured", f"Borders unclear in a picture: {found}"))
    elif ctr["towards"] is None:
        checks.append(Check(name, "measured", found))
    else:
        kept, target = ctr["towards"], record["alternative"]["diagnosis"]
        if ctr["direction"] == 0:
            verb = "stays, as" if kept else "does not stay, as"
            moves = f"It {verb} it would from {record['diagnosis']} to {target}."
        else:
            moves = f"It moves {'as' if kept else 'not as'} {target} would."
        checks.append(Check(name, _status(kept), f"{found} {moves}"))
    return checks


def _captions(record: Record) -> list[Check]:
    words, target = record["evidence"]["captions"], record["alternative"]["diagnosis"]
    checks = [
        _said("The caption", words["found"], record["diagnosis"]),
        _said("The alternative's caption", words["alternative"], target),
    ]
    repeats = "is the first one, word for word" if words["repeated"] else "differs from the first"
    name = "The alternative's caption against the first"
    return [*checks, Check(name, _status(not words["repeated"]), f"It {repeats}.")]


def _said(name: str, found: str | None, diagnosis: str) -> Check:
    if found is None:
        return Check(name, "not measured", "No rules say how these diagnoses are put into words.")
    if found == "silent":
        return Check(name, "not measured", f"Its words state neither {diagnosis} nor another.")
    agrees = found == "agrees"
    return Check(name, _status(agrees), f"It {'states' if agrees else 'contradicts'} {diagnosis}.")


def _status(passed: bool) -> Status:
    return "pass" if passed else "fail"


def _vote(certainty: Mapping[str, float], expected: str) -> str:
    label = max(certainty, key=lambda name: certainty[name])
    vote = f"{label[:1].upper()}{label[1:]}, {percent(certainty[label])}."
    return vote if label == expected else f"{vote} Expected: {expected}."


def _distance(distance: Mapping[str, float]) -> str:
    return (
        f"Similarity (SSIM) {distance['ssim']:.2f} of 1, mean square difference "
        f"{distance['l2']:.3f}."
    )


def count(number: int, one: str, many: str) -> str:
    """Write a number with its noun."""
    return f"{number} {one if number == 1 else many}"
