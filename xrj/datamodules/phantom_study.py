"""One report of the phantom: label, patient, text and pictures, drawn or after a real report."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from xrj.datamodules.archives import reading, safe_members
from xrj.datamodules.openi import parse_report
from xrj.datamodules.phantom_anatomy import (
    Findings,
    Patient,
    Side,
    ctr_of_same_rank,
    draw_acquisition,
    draw_ctr,
    draw_patient,
)
from xrj.datamodules.phantom_lateral import render_lateral
from xrj.datamodules.phantom_masks import frontal_masks
from xrj.datamodules.phantom_render import Truth, frontal_truth, render_frontal
from xrj.datamodules.phantom_reports import openi_xml, read_mesh, write_text
from xrj.errors import DataError
from xrj.seeding import numpy_rng

View = Literal["frontal", "lateral"]
Picture = npt.NDArray[np.uint8]
# The pictures of a study with the caption of Open-i, and how often it has them.
VIEWS: tuple[tuple[tuple[View, ...], str, float], ...] = (
    (("frontal",), "Xray Chest PA", 0.12),
    (("frontal", "lateral"), "PA and lateral chest", 0.76),
    (("frontal", "frontal"), "Chest, 2 views, frontal", 0.03),
    (("frontal", "frontal", "lateral"), "PA and lateral chest", 0.07),
    ((), "", 0.02),
)

EFFUSION = "pleural effusion"
"""Label of the reports that `effusion` asks for."""
FLUID = (2.2, 3.8)
"""Least and largest depth of an effusion, cm."""
VISIBLE = 4
"""Grey levels of 255 above which fluid changes a pixel, rather than the quantum noise."""

TRUTH_COLUMNS = (
    *("image_id", "report_uid", "view", "label"),
    *(field.name for part in (Truth, Findings) for field in fields(part)),
)


@dataclass(frozen=True)
class Study:
    """One report: its patient, the names and views of its pictures, and its XML document."""

    uid: str
    label: str
    patient: Patient
    images: tuple[tuple[str, View], ...]
    document_name: str
    document: bytes


def draw_study(
    seed: int, number: int, cardiomegaly: float, other: float, effusion: float = 0.0
) -> Study:
    """Draw report `number`: label, findings, anatomy, text and the list of pictures.

    The shares are those of `phantom.write_phantom`.
    """
    uid = f"CXR{number}"
    rng = numpy_rng(seed, "study", uid)
    kind, indexed = rng.random(), rng.random() > 0.015
    bounds = np.cumsum((cardiomegaly, other, effusion))
    label = ("cardiomegaly", "other", EFFUSION, "normal")[int((kind >= bounds).sum())]
    enlarged, healthy = label == "cardiomegaly", label == "normal"
    findings = _draw_findings(seed, uid, label)
    if effusion and label == "other" and findings.effusion:
        label = EFFUSION
    patient = draw_patient(seed, uid, draw_ctr(seed, uid, enlarged=enlarged), findings)
    text = write_text(seed, uid, patient, enlarged=enlarged, healthy=healthy)
    if not indexed:
        text, label = replace(text, mesh=()), "other"
    views, caption, _ = VIEWS[int(rng.choice(len(VIEWS), p=[share for *_, share in VIEWS]))]
    accession = int(rng.integers(1, 3000))
    images: list[tuple[str, View]] = []
    for view in views:
        serial = (1001 if view == "frontal" else 2001) + sum(v == view for _, v in images)
        images.append((f"{uid}_IM-{accession:04d}-{serial}", view))
    document = openi_xml(number, text, [name for name, _ in images], caption)
    return Study(uid, label, patient, tuple(images), f"{number}.xml", document)


def _draw_findings(seed: int, uid: str, label: str) -> Findings:
    """Draw devices and spine alike for every label, and disease for those not indexed as normal.

    The disease that gives a report its label is sure, and for "other" one of five is.
    """
    rng = numpy_rng(seed, "findings", uid)

    def side(chance: float) -> Side:
        left = rng.random() < 0.5
        return "" if rng.random() >= chance else "left" if left else "right"

    first = int(rng.integers(5)) if label == "other" else 0 if label == EFFUSION else -1
    rate = 0.0 if label == "normal" else 0.07
    effusion, nodule, opacity, granuloma = (side(1.0 if k == first else rate) for k in range(4))
    return Findings(
        effusion=effusion,
        effusion_size=float(rng.uniform(*FLUID)) if effusion else 0.0,
        nodule=nodule,
        opacity=opacity,
        granuloma=granuloma,
        tortuous_aorta=first == 4 or bool(rng.random() < rate),
        pacemaker=side(0.06),
        sternotomy=bool(rng.random() < 0.06),
        catheter=side(0.06),
        scoliosis=float(rng.choice((-1, 1)) * rng.uniform(0.5, 1.1))
        if rng.random() < 0.07
        else 0.0,
        degenerative=bool(rng.random() < 0.12),
    )


def studies_of(archive: Path, seed: int) -> Iterator[Study]:
    """Read an archive of Open-i reports; yield a study with a matching patient for each.

    The first picture of a report is frontal, the second lateral, a third frontal again, and so on.

    Raises:
        DataError: The archive or a report in it cannot be read, or it holds no report.
    """
    empty = True
    for name, _, stream in safe_members(archive):
        if not name.endswith(".xml"):
            continue
        with reading(archive):
            document = stream.read()
        try:
            report = parse_report(document)
        except DataError as error:
            raise DataError(f"{archive}/{name}: {error}") from error
        enlarged, severity, findings = read_mesh(seed, report.uid, report.mesh)
        ctr = draw_ctr(seed, report.uid, enlarged=enlarged, severity=severity)
        named = any(term.startswith("Cardiomegaly") for term in report.mesh)
        label = "cardiomegaly" if named else "normal" if report.mesh == ("normal",) else "other"
        images: list[tuple[str, View]] = [
            (Path(image_id).name, "lateral" if index % 2 else "frontal")
            for index, image_id in enumerate(report.image_ids)
        ]
        patient = draw_patient(seed, report.uid, ctr, findings)
        yield Study(report.uid, label, patient, tuple(images), Path(name).name, document)
        empty = False
    if empty:
        raise DataError(f"{archive}: holds no report; give NLMCXR_reports.tgz")


def render_as(seed: int, study: Study, image_id: str, size: int, label: str) -> Picture:
    """Render a frontal picture of a study again, the patient as one of another label.

    Anatomy, other findings, exposure and quantum noise stay, so this is the true counterfactual,
    which keeps findings that no report labelled normal has. The heart has the rank among those of
    that label that the patient's has among those of his own; an effusion comes with its label, on a
    side drawn for the patient, and goes with it. Under his own label the picture is that of
    `render_study`.

    Args:
        seed: Of the phantom.
        study: As `draw_study` gives it.
        image_id: Of a frontal picture of the study.
        size: Pixels a side.
        label: "normal", "cardiomegaly" or `EFFUSION`.
    """
    ctr = ctr_of_same_rank(study.patient.ctr, enlarged=label == "cardiomegaly")
    side, depth = study.patient.findings.effusion, study.patient.findings.effusion_size
    if label == EFFUSION and not side:
        rng = numpy_rng(seed, "effusion", study.uid)
        side, depth = ("left", "right")[int(rng.integers(2))], float(rng.uniform(*FLUID))
    elif label != study.label == EFFUSION:
        side, depth = "", 0.0
    return _render_with(seed, study, image_id, size, ctr, side, depth)


def effusion_region(seed: int, study: Study, image_id: str, size: int) -> npt.NDArray[np.bool_]:
    """Return where effusions of a patient can lie in a frontal picture, (size, size).

    These are the pixels that the deepest ones, on both sides, change.

    Args:
        seed: Of the phantom.
        study: As `draw_study` gives it.
        image_id: Of a frontal picture of the study.
        size: Pixels a side.
    """
    sides: tuple[Side, ...] = ("", "bilateral")
    dry, wet = (
        _render_with(seed, study, image_id, size, study.patient.ctr, side, FLUID[1])
        for side in sides
    )
    return cv2.absdiff(dry, wet) > VISIBLE


def _render_with(
    seed: int, study: Study, image_id: str, size: int, ctr: float, side: Side, depth: float
) -> Picture:
    """Render a frontal picture with another heart and another effusion."""
    names = [name for name, _ in study.images]
    acquisition = draw_acquisition(seed, study.uid, names.index(image_id), "frontal")
    findings = replace(study.patient.findings, effusion=side, effusion_size=depth)
    return render_frontal(replace(study.patient, ctr=ctr, findings=findings), acquisition, size)


def render_study(seed: int, study: Study, size: int) -> list[tuple[dict[str, Any], Picture]]:
    """Render all pictures of a study; return each with its row of `truth.csv`."""
    results = []
    for index, (image_id, view) in enumerate(study.images):
        acquisition = draw_acquisition(seed, study.uid, index, view)
        row: dict[str, Any] = {
            "image_id": image_id,
            "report_uid": study.uid,
            "view": view,
            "label": study.label,
            "ctr": study.patient.ctr,
        }
        if view == "frontal":
            image = render_frontal(study.patient, acquisition, size)
            row |= asdict(frontal_truth(study.patient, acquisition))
        else:
            image = render_lateral(study.patient, acquisition, size)
        row |= asdict(study.patient.findings)
        results.append(
            ({k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()}, image)
        )
    return results


def draw_masks(
    seed: int, study: Study, size: int
) -> Iterator[tuple[str, dict[str, npt.NDArray[np.uint8]]]]:
    """Yield each frontal picture's id with its masks; see `frontal_masks`."""
    for index, (image_id, view) in enumerate(study.images):
        if view == "frontal":
            acquisition = draw_acquisition(seed, study.uid, index, view)
            yield image_id, frontal_masks(study.patient, acquisition, size)
