"""The justification of one X-ray as a typed object, and its JSON."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from xrj import __version__
from xrj.datamodules.images import UInt8
from xrj.justify.mapping import MappingResult, MappingSettings, map_to_nearest
from xrj.justify.model import JustificationModel, to_uint8
from xrj.seeding import torch_generator


@dataclass(frozen=True)
class Reading:
    """What one representation says and shows.

    Attributes:
        diagnosis: The most certain label.
        certainty: Of each label; they sum to 1.
        caption: Words decoded after the label.
        small: X-ray of stage I, (h, w), 0 to 255.
        large: X-ray of stage II, (H, W), 0 to 255.
    """

    diagnosis: str
    certainty: dict[str, float]
    caption: str
    small: UInt8
    large: UInt8


@dataclass(frozen=True)
class Justification:
    """A diagnosis with its evidence (sections 3.3 and 3.4).

    Attributes:
        image: File of the X-ray, as it was named.
        original: The X-ray as the nets see it, at the size of stage II.
        found: Diagnosis, certainty and caption from r = I(x), and the reconstruction G(r).
        alternative: The same for r', the mapping to the nearest alternative diagnosis.
        mapping: How r' was found.
    """

    image: str
    original: UInt8
    found: Reading
    alternative: Reading
    mapping: MappingResult

    def to_json(
        self, model: JustificationModel, files: Mapping[str, Mapping[str, str]]
    ) -> dict[str, Any]:
        """Return the JSON form; a loss that is not finite is null.

        Args:
            model: That made it.
            files: File name by size in pixels of the pictures "reconstruction" and "alternative".
        """
        return {
            "image": self.image,
            "diagnosis": self.found.diagnosis,
            "certainty": self.found.certainty,
            "caption": self.found.caption,
            "reconstruction": dict(files["reconstruction"]),
            "alternative": {
                "diagnosis": model.labels[self.mapping.target],
                "caption": self.alternative.caption,
                "certainty": self.alternative.certainty,
                "xray": dict(files["alternative"]),
                "converged": self.mapping.converged,
                "tries": self.mapping.tries,
                "seconds": round(self.mapping.seconds, 3),
                "loss": {
                    term: value if math.isfinite(value) else None
                    for term, value in self.mapping.terms.items()
                },
            },
            "model": {
                "name": model.name,
                "stages": {stage: export.hash for stage, export in model.exports.items()},
                "split": model.exports["arae"].info["split"],
            },
            "version": __version__,
        }


def read_representation(model: JustificationModel, r: torch.Tensor) -> Reading:
    """Decode and draw one representation (1, v + n)."""
    with torch.no_grad():
        certainty = model.certainty(r)[0].tolist()
        label, words = model.captions(r)[0]
        small, large = model.draw(r)
    return Reading(
        diagnosis=label,
        certainty=dict(zip(model.labels, certainty, strict=True)),
        caption=" ".join(words),
        small=to_uint8(small),
        large=to_uint8(large),
    )


def justify(
    model: JustificationModel, image: UInt8, path: Path, settings: MappingSettings, seed: int
) -> Justification:
    """Diagnose an X-ray and justify the diagnosis.

    Args:
        model: A trained chain.
        image: The X-ray (H, W), 0 to 255, of any size.
        path: Its file, which is not read again; the file's name seeds the restarts, too.
        settings: Of the mapping.
        seed: Of the restarts.
    """
    x = model.read(image)
    with torch.no_grad():
        r = model.inverse(x)
    mapping = map_to_nearest(
        model.label_logits,
        model.stage1,
        r,
        x,
        settings,
        torch_generator(seed, "restart", path.name),
    )
    return Justification(
        image=str(path),
        original=model.view(image, model.sizes[1]),
        found=read_representation(model, r),
        alternative=read_representation(model, mapping.r),
        mapping=mapping,
    )
