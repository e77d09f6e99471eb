"""Who lies in the phantom: one patient's anatomy and findings, and how each X-ray is taken.

Lengths are centimetres. `x` grows towards the patient's left (right in a frontal picture), `y`
downwards from the apex of the lungs, `z` towards the front. Every draw is a function of (seed,
report), so a patient's size of heart can be changed while all else stays.
"""

from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

from xrj.seeding import numpy_rng

Side = Literal["", "left", "right", "bilateral"]


# Cardiothoracic ratios by label: mean and deviation of a normal distribution, and where it is cut.
# The gap between the two makes the label plain at 64 pixels.
NORMAL = (0.43, 0.03, 0.36, 0.48)
ENLARGED = (0.59, 0.04, 0.54, 0.70)
SEVERITIES: dict[str, tuple[float, float]] = {
    "borderline": (0.54, 0.56),
    "mild": (0.54, 0.585),
    "moderate": (0.585, 0.635),
    "severe": (0.635, 0.70),
}


@dataclass(frozen=True)
class Findings:
    """What the picture shows beside the size of the heart; never touches the heart or the thorax.

    Attributes:
        effusion: Side of a pleural effusion.
        effusion_size: Depth of the fluid above the costophrenic angle, cm.
        nodule: Side of a lung nodule.
        opacity: Side of a basal opacity.
        granuloma: Side of a calcified granuloma.
        pacemaker: Side of a pacemaker with its leads.
        sternotomy: Wires of a sternotomy.
        catheter: Side of a central venous line.
        scoliosis: Amplitude of the curve of the spine, cm (0: straight).
        degenerative: Osteophytes of the spine.
        tortuous_aorta: A wide, elongated aorta.
    """

    effusion: Side = ""
    effusion_size: float = 0.0
    nodule: Side = ""
    opacity: Side = ""
    granuloma: Side = ""
    pacemaker: Side = ""
    sternotomy: bool = False
    catheter: Side = ""
    scoliosis: float = 0.0
    degenerative: bool = False
    tortuous_aorta: bool = False


@dataclass(frozen=True)
class Patient:
    """The anatomy of one patient; `ctr` is the true cardiothoracic ratio."""

    ctr: float
    findings: Findings
    thorax: float  # half of the largest inner width
    asymmetry: float  # left half less right half, as a share of `thorax`
    widest: float  # y of the largest inner width
    depth: float  # half of the depth of the trunk
    wall: float  # ribs, muscle and fat beside the lungs
    dome: float  # y of the right dome at full inspiration
    dome_step: float  # how much lower the left dome is
    recess: float  # how far the lungs reach down behind the domes
    heart_right: float  # share of the heart's width that lies right of the midline
    heart_tilt: float  # long axis of the left ventricle against the horizontal, radians
    aorta: float  # radius of the aortic knob
    pedicle: float  # half width of the upper mediastinum
    vessels: float  # strength of the lung vessels
    rib_first: float
    rib_spacing: float
    rib_drop: float
    bone: float  # mineral density
    breast: float  # thickness (0: none)
    shoulder: float
    stomach: float  # radius of the gas bubble
    key: int  # seeds vessels, gas and the places of findings


@dataclass(frozen=True)
class Acquisition:
    """How one picture is taken."""

    view: Literal["frontal", "lateral"]
    field: float  # width of the picture in cm
    shift_x: float
    shift_y: float
    rotation: float  # about the long axis, radians
    expiration: float  # how much higher the domes stand, cm
    exposure: float  # offset of the film's mid grey in log exposure
    contrast: float
    scatter: float
    marker: bool  # a lead letter L on the patient's left
    key: int  # seeds the quantum noise


def draw_ctr(seed: int, uid: str, *, enlarged: bool, severity: str = "") -> float:
    """Draw the true cardiothoracic ratio of the patient of report `uid`."""
    rng = numpy_rng(seed, "heart", uid)
    if enlarged and severity:
        return float(rng.uniform(*SEVERITIES[severity]))
    mean, sd, low, high = ENLARGED if enlarged else NORMAL
    while not low <= (value := float(rng.normal(mean, sd))) <= high:
        pass
    return value


def ctr_of_same_rank(ctr: float, *, enlarged: bool) -> float:
    """Return the ratio that is among hearts of this kind what `ctr` is among those of its own.

    Both are quantiles of the truncated normal distributions that `draw_ctr` draws from.

    Args:
        ctr: Of a heart drawn without a severity.
        enlarged: The kind that is asked for; a heart of that kind stays as it is.
    """
    if enlarged == (ctr >= ENLARGED[2]):
        return ctr
    (own, *cut), (other, *other_cut) = (
        (NormalDist(mean, sd), low, high)
        for mean, sd, low, high in ((NORMAL, ENLARGED) if enlarged else (ENLARGED, NORMAL))
    )
    below, above = map(own.cdf, cut)
    other_below, other_above = map(other.cdf, other_cut)
    rank = (own.cdf(ctr) - below) / (above - below)
    return other.inv_cdf(other_below + rank * (other_above - other_below))


def severity_of(ctr: float) -> str:
    """Name the severity of an enlarged heart as the reports do."""
    return (
        "mild"
        if ctr < SEVERITIES["mild"][1]
        else "moderate"
        if ctr < SEVERITIES["moderate"][1]
        else "severe"
    )


def draw_patient(seed: int, uid: str, ctr: float, findings: Findings) -> Patient:
    """Draw the anatomy of the patient of report `uid`, but for the heart's size and findings."""
    rng = numpy_rng(seed, "anatomy", uid)
    female = rng.random() < 0.5
    habitus = float(np.clip(rng.normal(), -1.8, 2.0))
    thorax = 13.6 + 0.45 * float(np.clip(rng.normal(), -2, 2)) - (0.5 if female else 0.0)

    def around(mean: float, sd: float) -> float:
        return mean + sd * float(np.clip(rng.normal(), -2, 2))

    return Patient(
        ctr=ctr,
        findings=findings,
        thorax=thorax,
        asymmetry=around(0.0, 0.012),
        widest=around(20.8, 0.5),
        depth=10.6 + 0.8 * habitus,
        wall=2.6 + 0.55 * habitus,
        dome=around(20.3, 0.6),
        dome_step=around(1.2, 0.35),
        recess=around(4.6, 0.5),
        heart_right=around(0.335, 0.018),
        heart_tilt=around(0.62, 0.06),
        aorta=around(1.6, 0.15) + (0.7 if findings.tortuous_aorta else 0.0),
        pedicle=around(2.35, 0.15),
        vessels=around(1.0, 0.15),
        rib_first=around(-1.3, 0.3),
        rib_spacing=around(1.95, 0.06),
        rib_drop=around(8.6, 0.7),
        bone=around(1.0, 0.09),
        breast=max(0.0, around(2.6, 0.7)) if female else 0.0,
        shoulder=around(0.0, 0.5),
        stomach=max(0.0, around(1.6, 0.6)),
        key=int(rng.integers(2**31)),
    )


def draw_acquisition(
    seed: int, uid: str, index: int, view: Literal["frontal", "lateral"]
) -> Acquisition:
    """Draw how picture number `index` of report `uid` is taken."""
    rng = numpy_rng(seed, "acquisition", uid, index)

    def spread(sd: float) -> float:
        return sd * float(np.clip(rng.normal(), -2, 2))

    return Acquisition(
        view=view,
        field=37.5 + spread(0.8),
        shift_x=spread(0.4),
        shift_y=spread(0.4),
        rotation=spread(0.025),
        expiration=abs(spread(0.5)),
        exposure=spread(0.08),
        contrast=1.0 + spread(0.05),
        scatter=0.55 + spread(0.08),
        marker=bool(rng.random() < 0.6),
        key=int(rng.integers(2**31)),
    )
