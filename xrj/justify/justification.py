"""The justification of an X-ray as a typed object, and its JSON."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from os import PathLike
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch

from xrj import __version__
from xrj.datamodules.images import Frame, UInt8
from xrj.errors import ConfigError
from xrj.justify.evidence import (
    Evidence,
    EvidenceSettings,
    Pictures,
    Vote,
    classify,
    gather_evidence,
    take_vote,
)
from xrj.justify.mapping import MappingResult, MappingSettings, map_to_nearest
from xrj.justify.on_xray import BlendSettings, OnXray, draw_on_xray
from xrj.justify.page import Calibration
from xrj.justify.pictures import difference_map
from xrj.justify.protocol import PART, Justifiable, SaliencyMap
from xrj.justify.reading import Reading as Reading
from xrj.justify.reading import Step as Step
from xrj.justify.reading import (
    as_images,
    draw_pictures,
    read_representations,
    walk,
)
from xrj.justify.refinement import Refinement, RefinementSettings, refine
from xrj.justify.wording import percent
from xrj.seeding import torch_generator

WALKS = 64
"""Most pictures of a walk."""
HEIGHT = 900
"""Pixels of a page in a notebook, which scrolls within."""


@dataclass(frozen=True)
class JustifySettings:
    """How X-rays are justified; without arguments as `infer.py` does it.

    Attributes:
        mapping: Of M.
        refinement: Of r, before M; none with 0 steps, nor for a model without noise part.
        evidence: What is checked.
        blend: How the alternative is drawn on the X-ray.
        walk: Pictures from r to r', both ends included.
        batch: X-rays at once.
        saliency: Draw saliency maps, too, where there is a classifier.
        towards: The alternative diagnosis of X-rays that do not have it; None: the nearest.

    Raises:
        ConfigError: A number is out of range.
    """

    mapping: MappingSettings = field(default_factory=MappingSettings)
    refinement: RefinementSettings = field(default_factory=RefinementSettings)
    evidence: EvidenceSettings = field(default_factory=EvidenceSettings)
    blend: BlendSettings = field(default_factory=BlendSettings)
    walk: int = 9
    batch: int = 64
    saliency: bool = True
    towards: str | None = None

    def __post_init__(self) -> None:
        mapping = {key: getattr(self.mapping, key) for key in ("steps", "iterations", "tries")}
        for key, given in {"batch": self.batch, **mapping}.items():
            if given < 1:
                raise ConfigError(f"{key}={given}: must be at least 1")
        if not 2 <= self.walk <= WALKS:
            raise ConfigError(f"walk={self.walk}: must lie between 2 and {WALKS}")


@dataclass(frozen=True)
class Files:
    """Names of a justification's pictures, beside its JSON.

    Attributes:
        reconstruction: By size in pixels; so is the next.
        alternative: Of the counterfactual.
        on_xray: The alternative on the X-ray, of the X-ray's size.
        walk: The animation from r to r'.
        saliency: One for each map.
    """

    reconstruction: Mapping[str, str]
    alternative: Mapping[str, str]
    on_xray: str
    walk: str
    saliency: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class Justification:
    """A diagnosis with its evidence (sections 3.3 and 3.4).

    A notebook shows it as its page.

    Attributes:
        image: File of the X-ray, as it was named.
        xray: The X-ray, (H, W), as it was given.
        original: The X-ray as the nets see it, at the size of stage II.
        found: Diagnosis, certainty and caption from r, and the reconstruction G(r); r is I(x) with
            its noise part refined.
        alternative: The same for r', the mapping to the nearest alternative diagnosis.
        on_xray: The alternative on the X-ray itself.
        mapping: How r' was found.
        refinement: How r was found; None when it is I(x) as it stands.
        one_shot: Reconstruction before the refinement, (H, W); None without one.
        walk: From r to r' along a straight line, both ends included.
        evidence: What was checked.
        saliency: The rivals' pictures; none without a classifier.
        found_by_classifier: An independent classifier's vote on the original, which agrees where
            it has the same diagnosis; None without one.
        on_xray_seen: The alternative on the X-ray as the nets see it, at the size of stage II.
        frame: The part of the X-ray that the nets see.
        model: What tells the model that made it from others; see `Justifiable.identity`.
        doubts: A sentence for each thing that is doubtful of how the X-ray's file was read.
        calibration: Of the model's certainties; None where it was not measured.
    """

    image: str
    xray: UInt8
    original: UInt8
    found: Reading
    alternative: Reading
    on_xray: OnXray
    mapping: MappingResult
    refinement: Refinement | None
    one_shot: UInt8 | None
    walk: tuple[Step, ...]
    evidence: Evidence
    saliency: tuple[SaliencyMap, ...]
    found_by_classifier: Vote | None
    on_xray_seen: UInt8
    frame: Frame
    model: Mapping[str, Any]
    doubts: tuple[str, ...] = ()
    calibration: Calibration | None = None

    @property
    def diagnosis(self) -> str:
        """The diagnosis; `found` has its certainty and caption."""
        return self.found.diagnosis

    @property
    def target(self) -> str:
        """The alternative diagnosis that was searched for.

        `alternative.diagnosis` is what r' decodes to: the same, where the search has converged.
        """
        return tuple(self.found.certainty)[self.mapping.target]

    @property
    def sizes(self) -> tuple[int, int]:
        """Pixels a side of the model's pictures, of stage I and of stage II."""
        return len(self.found.small), len(self.found.large)

    @property
    def pictures(self) -> dict[str, UInt8]:
        """Its pictures, 0 to 255.

        "xray" and "alternative_on_xray" (H, W) at the X-ray's own size; "original",
        "reconstruction" and "alternative" (S, S) at the size of stage II, and "difference"
        (S, S, 3) in colour: alternative minus reconstruction, over the original.
        """
        found, other = self.found.large, self.alternative.large
        return {
            "xray": self.xray,
            "alternative_on_xray": self.on_xray.picture,
            "original": self.original,
            "reconstruction": found,
            "alternative": other,
            "difference": difference_map(found, other, self.original).picture,
        }

    @property
    def files(self) -> Files:
        """Names of its pictures where it is saved."""
        reconstruction, alternative = (
            {str(size): f"{kind}_{size}.png" for size in self.sizes}
            for kind in ("reconstruction", "alternative")
        )
        maps = tuple(f"saliency_{one.method}.webp" for one in self.saliency)
        return Files(reconstruction, alternative, "alternative_on_xray.png", "walk.webp", maps)

    def save(self, folder: str | PathLike[str]) -> Path:
        """Write a folder with its JSON, its pictures and its page, as `infer.py` does.

        Args:
            folder: To write; it appears when it is complete. An earlier justification is replaced.

        Returns:
            The page, `justification.html`.

        Raises:
            DataError: The folder holds something else or cannot be written.
        """
        from xrj.justify.output import PAGE_NAME, write_justification  # which knows this class

        folder = Path(folder).expanduser()
        write_justification(self, folder)
        return folder / PAGE_NAME

    def __repr__(self) -> str:
        found = percent(self.found.certainty[self.diagnosis])
        return (
            f"<Justification of {self.image}: {self.diagnosis} ({found}), "
            f"alternative {self.target}{'' if self.mapping.converged else ' NOT found'}>"
        )

    def _repr_html_(self) -> str:
        """Return its page in a frame of its own, which neither is changed by what is around."""
        from xrj.justify.output import PAGE_NAME, render

        page = render(self, "").files[PAGE_NAME].decode()
        return (
            f'<iframe srcdoc="{escape(page)}" title="{escape(repr(self))}" sandbox="allow-scripts" '
            f'style="width: 100%; height: {HEIGHT}px; border: 0"></iframe>'
        )

    def to_dict(self) -> dict[str, Any]:
        """Return its JSON form, as `justification.json` holds it.

        A number that is not finite is null.
        """
        refinement, classifier, files = self.refinement, self.found_by_classifier, self.files
        return {
            "image": self.image,
            "diagnosis": self.found.diagnosis,
            "certainty": self.found.certainty,
            "caption": self.found.caption,
            "classifier": classifier
            and {"diagnosis": classifier.label, "certainty": classifier.certainty},
            "reconstruction": dict(files.reconstruction),
            "refinement": refinement
            and {
                "error_before": refinement.error_before,
                "error_after": refinement.error_after,
                "evaluations": refinement.evaluations,
                "seconds": round(refinement.seconds, 3),
            },
            "alternative": {
                "diagnosis": self.target,
                "caption": self.alternative.caption,
                "certainty": self.alternative.certainty,
                "xray": dict(files.alternative),
                "on_xray": {
                    "file": files.on_xray,
                    "size": list(self.on_xray.picture.shape),
                    "redrawn": self.on_xray.redrawn,
                },
                "converged": self.mapping.converged,
                "tries": self.mapping.tries,
                "evaluations": self.mapping.evaluations,
                "seconds": round(self.mapping.seconds, 3),
                "loss": {term: _finite(value) for term, value in self.mapping.terms.items()},
            },
            "walk": {
                "file": files.walk,
                "certainty": [step.certainty for step in self.walk],
            },
            "evidence": self.evidence.to_json(),
            "saliency": [
                {"method": one.method, "title": one.title, "target": one.target, "file": file}
                for one, file in zip(self.saliency, files.saliency, strict=True)
            ],
            "model": dict(self.model),
            "version": __version__,
            "doubts": list(self.doubts),
        }


def justify(
    model: Justifiable, image: UInt8, name: str, settings: JustifySettings, seed: int
) -> Justification:
    """Justify one X-ray; see `justify_all`."""
    return justify_all(model, [image], [name], settings, seed)[0]


def check_towards(model: Justifiable, label: str | None) -> None:
    """Check that an alternative diagnosis that is asked for is one of the model's labels.

    Raises:
        ConfigError: It is not.
    """
    if label is not None and label not in model.labels:
        raise ConfigError(
            f"towards={label}: no label of {model.identity['name']}; choose one of "
            f"{', '.join(model.labels)}, or leave it out"
        )


def justify_all(
    model: Justifiable,
    images: Sequence[UInt8],
    names: Sequence[str],
    settings: JustifySettings,
    seed: int,
) -> list[Justification]:
    """Diagnose X-rays and justify the diagnoses.

    They are worked on in batches; what comes out for one does not depend on the others.

    Args:
        model: What diagnoses.
        images: X-rays (H, W), 0 to 255, each of any size.
        names: Their files, which are not read; a file's name seeds its restarts, too.
        settings: How.
        seed: Of the restarts.

    Raises:
        ConfigError: The model has no such label as is asked for.
    """
    check_towards(model, settings.towards)
    justifications: list[Justification] = []
    for start in range(0, len(images), settings.batch):
        rows = slice(start, start + settings.batch)
        justifications += _justify_batch(model, images[rows], names[rows], settings, seed)
    return justifications


def _justify_batch(
    model: Justifiable,
    images: Sequence[UInt8],
    names: Sequence[str],
    settings: JustifySettings,
    seed: int,
) -> list[Justification]:
    x = as_images(model, images)
    originals = np.stack([model.view(image, model.sizes[1]) for image in images])
    with torch.no_grad():
        r = model.encode(x)
    refinements: Sequence[Refinement | None] = [None] * len(images)
    one_shots: Sequence[UInt8 | None] = [None] * len(images)
    embedding = model.split(r)[0].shape[1]
    if settings.refinement.steps and embedding < r.shape[1]:
        one_shots = list(draw_pictures(model, r)[1])
        refined = refine(model.generate, r, x, embedding, settings.refinement)
        refinements, r = refined, torch.cat([refinement.r for refinement in refined])
    generators = [torch_generator(seed, "restart", PurePath(name).name) for name in names]
    towards = None if settings.towards is None else model.labels.index(settings.towards)
    mappings = map_to_nearest(
        model.label_logits, model.generate, r, x, settings.mapping, generators, towards
    )
    found = read_representations(model, r)
    alternatives = read_representations(model, torch.cat([mapping.r for mapping in mappings]))
    second = classify(model, originals)
    votes: Sequence[Vote | None] = [None] * len(images)
    if second is not None:
        votes = [
            take_vote(model.labels, row, reading.diagnosis)
            for row, reading in zip(second, found, strict=True)
        ]
    drawn = [
        draw_on_xray(
            image,
            model.frame(image.shape),
            originals[row],
            found[row].large,
            alternatives[row].large,
            settings.blend,
        )
        for row, image in enumerate(images)
    ]
    pictures = Pictures(
        originals,
        np.stack([reading.large for reading in found]),
        np.stack([reading.large for reading in alternatives]),
        np.stack([reading.small for reading in alternatives]),
        [one.picture for one in drawn],
    )
    said = list(zip(found, alternatives, strict=True))
    evidence = gather_evidence(
        model, r, mappings, pictures, votes, model.unlike(x), said, settings.evidence
    )
    saliency: Sequence[tuple[SaliencyMap, ...]] = [()] * len(images)
    if settings.saliency:
        saliency = [
            maps
            for start in range(0, len(images), PART)
            for maps in model.saliency(
                model.to_images(originals[start : start + PART]),
                [one.diagnosis for one in found[start : start + PART]],
            )
        ]
    return [
        Justification(
            image=name,
            xray=images[row],
            original=originals[row],
            found=found[row],
            alternative=alternatives[row],
            on_xray=drawn[row],
            mapping=mappings[row],
            refinement=refinements[row],
            one_shot=one_shots[row],
            walk=walk(model, r[row : row + 1], mappings[row].r, settings.walk),
            evidence=evidence[row],
            saliency=saliency[row],
            found_by_classifier=votes[row],
            on_xray_seen=model.view(drawn[row].picture, model.sizes[1]),
            frame=model.frame(images[row].shape),
            model=model.identity,
        )
        for row, name in enumerate(names)
    ]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
