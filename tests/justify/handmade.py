"""A justification made by hand: no nets, no chance."""

import numpy as np
import torch

from xrj.datamodules.images import Frame, resize
from xrj.justify.change import Ruler
from xrj.justify.evidence import CtrChange, Distance, Evidence, Vote
from xrj.justify.justification import Justification, Reading, Step
from xrj.justify.mapping import TERMS, MappingResult
from xrj.justify.on_xray import OnXray
from xrj.justify.protocol import SaliencyMap
from xrj.justify.refinement import Refinement
from xrj.justify.saliency import METHODS
from xrj.justify.words import Words
from xrj.measures.masks import Width

LABELS = ("normal", "cardiomegaly")
SMALL, LARGE = 32, 96


IDENTITY = {
    "name": "made",
    "stages": {"arae": "a" * 64, "inverse": "b" * 64},
    "split": "c" * 64,
    "tells_unlike": True,
}


def chest(heart, size=LARGE):
    """Draw two dark lungs with a bright heart, `heart` its width as a share of the picture's."""
    y, x = np.mgrid[0:size, 0:size] / size
    picture = np.full((size, size), 190.0)
    for middle in (0.3, 0.7):
        picture[((x - middle) / 0.16) ** 2 + ((y - 0.48) / 0.3) ** 2 < 1] = 60
    picture[((x - 0.54) / (heart / 2)) ** 2 + ((y - 0.6) / 0.16) ** 2 < 1] = 200
    return picture.astype(np.uint8)


def certainty(share, labels=LABELS):
    """Return certainties with `share` for the second label."""
    rest = (1 - share) / (len(labels) - 1)
    return dict.fromkeys(labels, rest) | {labels[1]: share}


def reading(share, caption, heart):
    found = certainty(share)
    large = chest(heart)
    label = max(found, key=found.get)
    return Reading(label, found, caption, resize(large, SMALL), large)


def vote(share, expected):
    found = certainty(share)
    label = max(found, key=found.get)
    return Vote(label, found, label == expected)


def ctr_change(original, before, after, direction):
    """Return a change of the ratio; None stands for a picture that is not measured."""

    def ruler(ctr):
        half = ctr and 0.4 * ctr
        return ctr and Ruler(Width(0.5 - half, 0.5 + half, 0.6), Width(0.1, 0.9, 0.65))

    return CtrChange(*map(ruler, (original, before, after)), direction)


def made_evidence(**changes):
    """Return evidence that passes every check, with some of it changed."""
    evidence = {
        "unlike": None,
        "frontal": True,
        "decoder": vote(0.98, "cardiomegaly"),
        "reencoded": vote(0.93, "cardiomegaly"),
        "independent": vote(0.88, "cardiomegaly"),
        "on_xray": vote(0.9, "cardiomegaly"),
        "on_xray_independent": vote(0.86, "cardiomegaly"),
        "to_original": Distance(0.09, 0.031, 0.71),
        "to_reconstruction": Distance(0.03, 0.012, 0.93),
        "embedding_distance": 0.61,
        "noise_distance": 2.3,
        "heart_share": 0.84,
        "changed_share": 0.07,
        "ctr": ctr_change(0.46, 0.45, 0.57, 1),
        "words": Words("agrees", "agrees", repeated=False),
        "unexplained": 0.11,
        "allowed": 0.25,
        "warnings": (),
    }
    return Evidence(**evidence | changes)


def made(image="folder/patient.png", **changes):
    """Return a justification that passes every check, with some of it changed."""
    found = reading(0.04, "the heart is normal in size the lungs are clear", 0.3)
    alternative = reading(0.98, "the heart is mildly enlarged the lungs are clear", 0.46)
    shares = np.linspace(0, 1, 5)
    targets = (None, None, "normal", "normal")
    rows = np.linspace(0, 1, LARGE, dtype=np.float32)
    parts = {
        "image": image,
        "xray": chest(0.31),
        "original": chest(0.31),
        "found": found,
        "alternative": alternative,
        "on_xray": OnXray(chest(0.45), (chest(0.45) != chest(0.31)).astype(np.float32), 0.12),
        "mapping": made_mapping(),
        "refinement": Refinement(0.051, 0.012, 24, 0.2, torch.zeros(1, 6)),
        "one_shot": chest(0.33),
        "walk": tuple(
            Step(certainty(0.04 + 0.94 * share), chest(0.3 + 0.16 * share)) for share in shares
        ),
        "evidence": made_evidence(),
        "saliency": tuple(
            SaliencyMap(method, method.replace("_", " ").capitalize(), target, np.outer(rows, rows))
            for method, target in zip(METHODS, targets, strict=True)
        ),
        "found_by_classifier": vote(0.11, "normal"),
        "model": IDENTITY,
        **changes,
    }
    parts["on_xray_seen"] = resize(parts["on_xray"].picture, LARGE)
    parts["frame"] = Frame(0, 0, *parts["xray"].shape)
    return Justification(**parts)


def made_mapping(**changes):
    mapping = {
        "r": torch.zeros(1, 6),
        "target": 1,
        "certainty": 0.98,
        "converged": True,
        "tries": 1,
        "evaluations": 41,
        "seconds": 0.42,
        "loss": 0.6,
        "terms": dict(zip(TERMS, (0.02, 0.01, 0.57), strict=True)),
        "trace": (0.9, 0.6),
    }
    return MappingResult(**mapping | changes)
