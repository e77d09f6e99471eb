"""What is written about a phantom: a small grammar of report sentences, MeSH terms, Open-i XML."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xrj.datamodules.phantom_anatomy import Findings, Patient, Side, severity_of
from xrj.seeding import numpy_rng

HEART_NORMAL = (
    "The heart is normal in size.",
    "Heart size is normal.",
    "Heart size within normal limits.",
    "The cardiac silhouette is within normal limits.",
    "The cardiomediastinal silhouette is normal in size and contour.",
    "Cardiac and mediastinal contours are within normal limits.",
    "The heart is not enlarged.",
    "Normal heart size and mediastinal contour.",
)
HEART_UPPER = ("Heart size is at the upper limits of normal.",)
HEART_GRADED = (
    "There is {grade} cardiomegaly.",
    "The heart is {grade}ly enlarged.",
    "The cardiac silhouette is {grade}ly enlarged.",
    "Stable {grade} cardiomegaly.",
)
HEART_PLAIN = (
    "The heart is enlarged.",
    "The cardiac silhouette is enlarged.",
    "There is stable cardiomegaly.",
)
LUNGS = (
    "The lungs are clear.",
    "Lungs are clear bilaterally.",
    "The lungs are clear of focal airspace disease.",
    "No focal consolidation is seen.",
    "There is no focal airspace consolidation.",
    "The lungs are grossly clear without focal infiltrate.",
    "No evidence of active disease in the lungs.",
)
PLEURA = (
    "No pneumothorax or pleural effusion.",
    "There is no pleural effusion or pneumothorax.",
    "No evidence of pleural effusion or pneumothorax.",
    "No large pleural effusion is seen.",
)
PNEUMOTHORAX = ("There is no pneumothorax.", "No pneumothorax is seen.")
EFFUSION = (
    "There is a small {side} pleural effusion.",
    "Possible small {side} pleural effusion.",
)
NODULE = (
    "There is a nodule in the {side} lung.",
    "Possible nodule in the {side} lung.",
)
OPACITY = (
    "There is opacity in the {side} lung base.",
    "Opacity in the {side} lung base, atelectasis or infiltrate cannot be excluded.",
)
GRANULOMA = ("There is a calcified granuloma in the {side} lung.",)
PACEMAKER = ("There is a {side} pacemaker with stable leads.", "A {side} pacemaker is seen.")
STERNOTOMY = ("Median sternotomy XXXX are intact.", "There are stable median sternotomy XXXX.")
CATHETER = ("There is a {side} central venous catheter.",)
SCOLIOSIS = ("There is mild scoliosis of the thoracic spine.",)
DEGENERATIVE = (
    "There are mild degenerative changes of the thoracic spine.",
    "Mild degenerative changes are seen in the spine.",
)
AORTA = ("The thoracic aorta is tortuous.",)
BONES = (
    "The bony structures are intact.",
    "No acute bony abnormality is seen.",
    "Visualized osseous structures are unremarkable.",
    "The XXXX are intact.",
)
VESSELS = ("Pulmonary vascularity is normal.", "The pulmonary vasculature is within normal limits.")
INDICATIONS = (
    "Chest pain.",
    "XXXX-year-old with dyspnea.",
    "Shortness of breath.",
    "Cough.",
    "Preoperative evaluation.",
)
COMPARISONS = ("None.", "XXXX.", "Chest radiograph XXXX.")
NO_DISEASE = (
    "No acute cardiopulmonary abnormality.",
    "No acute disease.",
    "Normal chest.",
    "No evidence of active disease.",
)


@dataclass(frozen=True)
class ReportText:
    """The written part of one report; `findings` is empty where the report has none."""

    indication: str
    comparison: str
    findings: str
    impression: str
    mesh: tuple[str, ...]


def _pick(rng: np.random.Generator, choices: Sequence[str], **words: str) -> str:
    return choices[int(rng.integers(len(choices)))].format(**words)


def write_text(
    seed: int, uid: str, patient: Patient, *, enlarged: bool, healthy: bool
) -> ReportText:
    """Write the report of a patient.

    Args:
        seed: Seed of the phantom.
        uid: Report, such as `CXR12`.
        patient: Anatomy and findings to describe.
        enlarged: The heart is enlarged.
        healthy: The report is indexed as `normal` alone, whatever old devices it mentions.
    """
    rng = numpy_rng(seed, "report", uid)
    found = patient.findings
    grade = severity_of(patient.ctr) if enlarged and rng.random() < 0.7 else ""
    if not enlarged:
        heart = _pick(
            rng, HEART_UPPER if patient.ctr > 0.468 and rng.random() < 0.6 else HEART_NORMAL
        )
    elif grade:
        heart = _pick(rng, HEART_GRADED, grade=grade)
    else:
        heart = _pick(rng, HEART_PLAIN)
    sentences = [heart] if rng.random() < 0.96 else []
    lungs = [
        _pick(rng, choices, side=side)
        for choices, side in (
            (NODULE, found.nodule),
            (OPACITY, found.opacity),
            (GRANULOMA, found.granuloma),
        )
        if side
    ]
    sentences += lungs or [_pick(rng, LUNGS)]
    if found.effusion:
        sentences += [_pick(rng, EFFUSION, side=found.effusion), _pick(rng, PNEUMOTHORAX)]
    elif len(sentences) < 2 or rng.random() < 0.85:
        sentences.append(_pick(rng, PLEURA))
    if found.pacemaker:
        sentences.append(_pick(rng, PACEMAKER, side=f"{found.pacemaker}-sided"))
    if found.sternotomy:
        sentences.append(_pick(rng, STERNOTOMY))
    if found.catheter:
        sentences.append(_pick(rng, CATHETER, side=found.catheter))
    if found.tortuous_aorta:
        sentences.append(_pick(rng, AORTA))
    if found.scoliosis:
        sentences.append(_pick(rng, SCOLIOSIS))
    if found.degenerative:
        sentences.append(_pick(rng, DEGENERATIVE))
    elif not found.scoliosis and rng.random() < 0.5:
        sentences.append(_pick(rng, BONES))
    if len(sentences) < 5 and rng.random() < 0.3:
        sentences.append(_pick(rng, VESSELS))
    if rng.random() < 0.3:
        rng.shuffle(sentences)
    impression = []
    if enlarged:
        impression.append(f"{grade} cardiomegaly.".strip().capitalize())
    if lungs or found.effusion:
        impression.append("XXXX follow up is recommended.")
    return ReportText(
        indication=_pick(rng, INDICATIONS),
        comparison=_pick(rng, COMPARISONS),
        findings=" ".join(sentences[:5]) if rng.random() < 0.94 else "",
        impression=" ".join(impression or [_pick(rng, NO_DISEASE)]),
        mesh=("normal",) if healthy else _mesh(found, grade, enlarged),
    )


def _mesh(found: Findings, grade: str, enlarged: bool) -> tuple[str, ...]:
    """Index what was found with the major terms that Open-i uses."""
    terms = [f"Cardiomegaly/{grade}".rstrip("/")] if enlarged else []
    for side, term in (
        (found.effusion, "Pleural Effusion/{}/small"),
        (found.nodule, "Nodule/lung/{}"),
        (found.opacity, "Opacity/lung/base/{}"),
        (found.granuloma, "Calcified Granuloma/lung/{}"),
        (found.pacemaker, "Implanted Medical Device/{}"),
        (found.catheter, "Catheters, Indwelling/{}"),
    ):
        if side:
            terms.append(term.format(side))
    if found.sternotomy:
        terms.append("Surgical Instruments/mediastinum")
    if found.tortuous_aorta:
        terms.append("Aorta, Thoracic/tortuous")
    if found.scoliosis:
        terms.append("Scoliosis/thoracic vertebrae/mild")
    if found.degenerative:
        terms.append("Thoracic Vertebrae/degenerative/mild")
    return tuple(terms)


def read_mesh(seed: int, uid: str, mesh: Sequence[str]) -> tuple[bool, str, Findings]:
    """Turn the major terms of a real report into what its phantom has to show.

    Returns:
        Whether the heart is enlarged, the severity ("" when not said), and the findings.
    """
    rng = numpy_rng(seed, "findings", uid)
    sides: tuple[Side, ...] = ("left", "right")

    def side(pattern: str) -> Side:
        for term in mesh:
            if re.match(pattern, term):
                named: tuple[Side, ...] = tuple(s for s in sides if f"/{s}" in term)
                return (
                    "bilateral"
                    if "/bilateral" in term
                    else named[0]
                    if named
                    else sides[int(rng.integers(2))]
                )
        return ""

    hearts = [
        term.lower()
        for term in mesh
        if term.startswith(("Cardiomegaly", "Cardiac Shadow/enlarged"))
    ]
    severity = next(
        (s for s in ("severe", "moderate", "mild", "borderline") for h in hearts if s in h), ""
    )
    effusion = side("Pleural Effusion")
    return (
        bool(hearts),
        severity,
        Findings(
            effusion=effusion,
            effusion_size=float(rng.uniform(2.2, 3.8)) if effusion else 0.0,
            nodule=side("Nodule|Mass"),
            opacity=side("Opacity|Airspace|Infiltrate|Consolidation|Pulmonary Atelectasis"),
            granuloma=side("Calcified Granuloma|Granuloma"),
            pacemaker=side("Implanted Medical Device"),
            sternotomy=bool(side("Surgical Instruments|Sternum")),
            catheter=side("Catheters, Indwelling|Tube, Inserted"),
            scoliosis=float(rng.choice((-1, 1)) * rng.uniform(0.5, 1.1))
            if side("Scoliosis")
            else 0.0,
            degenerative=bool(
                side("(Thoracic Vertebrae|Spine)/degenerative|Spondylosis|Osteophyte")
            ),
            tortuous_aorta=bool(side("Aorta.*tortuous")),
        ),
    )


def openi_xml(number: int, text: ReportText, image_ids: Sequence[str], caption: str) -> bytes:
    """Return a report as an Open-i XML document.

    Args:
        number: Report number; the uId is `CXR<number>`.
        text: What the report says.
        image_ids: Picture names without their suffix.
        caption: The caption of every picture, such as "PA and lateral chest".
    """
    root = ET.Element("eCitation")
    ET.SubElement(root, "meta", type="rr")
    ET.SubElement(root, "uId", id=f"CXR{number}")
    ET.SubElement(root, "pmcId", id=str(number))
    ET.SubElement(root, "docSource").text = "CXR"
    ET.SubElement(root, "IUXRId", id=str(number))
    ET.SubElement(root, "publisher").text = "xrj phantom"
    ET.SubElement(root, "title").text = "Phantom Chest X-ray Collection"
    citation = ET.SubElement(root, "MedlineCitation", Owner="xrj", Status="phantom")
    article = ET.SubElement(citation, "Article", PubModel="Electronic")
    ET.SubElement(article, "ArticleTitle").text = "Phantom Chest X-ray Collection"
    abstract = ET.SubElement(article, "Abstract")
    for name in ("comparison", "indication", "findings", "impression"):
        ET.SubElement(abstract, "AbstractText", Label=name.upper()).text = (
            getattr(text, name) or None
        )
    mesh = ET.SubElement(root, "MeSH")
    for term in text.mesh:
        ET.SubElement(mesh, "major").text = term
    for index, image_id in enumerate(image_ids, start=1):
        image = ET.SubElement(root, "parentImage", id=image_id)
        ET.SubElement(image, "figureId").text = f"F{index}"
        ET.SubElement(image, "caption").text = caption
        panel = ET.SubElement(image, "panel", type="single")
        ET.SubElement(panel, "url").text = f"NLMCXR_png/{image_id}.png"
        ET.SubElement(panel, "imgModality").text = "7"
    ET.indent(root, "   ")
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document
