"""The alternative on the patient's own X-ray: only what must change is taken from the generator.

G draws a chest anew, without the patient's ribs, vessels and devices. What differs between its
pictures of both diagnoses is a region; there the X-ray gets the generated content, moved to the
grey level of its surroundings, and everywhere else it stays as it is.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from xrj.datamodules.images import UInt8

Plane = NDArray[np.float32]


@dataclass(frozen=True)
class BlendSettings:
    """How the region is found and filled; lengths are shares of the picture's side.

    Attributes:
        threshold: Grey levels, of 255, by which smoothed pictures must differ to be in the region.
        smooth: Standard deviation of that smoothing.
        close: Diameter of the gaps and notches of the region that are closed.
        feather: Width over which the region's border fades.
    """

    threshold: float
    smooth: float
    close: float
    feather: float


@dataclass(frozen=True)
class OnXray:
    """An X-ray with the alternative drawn on it.

    Attributes:
        picture: (H, W), 0 to 255, of the X-ray's own size.
        mask: How much of each pixel is drawn, (S, S) in [0, 1], of what the model sees.
        redrawn: Share of the X-ray's pixels that are not its own.
    """

    picture: UInt8
    mask: Plane
    redrawn: float


@dataclass(frozen=True)
class Frame:
    """The part of a picture that a model sees, in pixels of that picture."""

    top: float
    left: float
    height: float
    width: float


def draw_on_xray(
    xray: UInt8, frame: Frame, seen: UInt8, before: UInt8, after: UInt8, settings: BlendSettings
) -> OnXray:
    """Draw on an X-ray what changes between two generated pictures.

    The change is added to the X-ray as it is, so detail that is finer than the generated pictures'
    pixels stays, and outside the region every pixel is the X-ray's own.

    Args:
        xray: (H, W), 0 to 255, of any size.
        frame: The part that the model sees.
        seen: That part as the model sees it, (S, S).
        before: G(r), (S, S).
        after: G(r'), (S, S).
        settings: Of the region.
    """
    mask = change_mask(before, after, settings)
    drawn = after + fill(seen.astype(np.float32) - after, mask)
    change = mask * (drawn - seen)
    picture, touched = _add(xray, frame, change, mask)
    return OnXray(picture, mask, touched)


def change_mask(before: UInt8, after: UInt8, settings: BlendSettings) -> Plane:
    """Return how much of each pixel is to be drawn, (S, S) in [0, 1].

    1 where the smoothed pictures differ by more than the threshold, with gaps closed; from there it
    fades to exactly 0 within the feather.
    """
    side = before.shape[0]
    changed = _blur(cv2.absdiff(before, after).astype(np.float32), settings.smooth * side)
    region = (changed > settings.threshold).astype(np.uint8)
    region = cv2.morphologyEx(region, cv2.MORPH_CLOSE, _disc(settings.close * side))
    inner = cv2.distanceTransform(1 - region, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    share = np.clip(1 - inner / max(settings.feather * side, 1.0), 0, 1)
    mask: Plane = (share * share * (3 - 2 * share)).astype(np.float32)
    return mask


def fill(values: Plane, mask: Plane) -> Plane:
    """Continue values from where the mask is 0 smoothly to where it is not, (S, S).

    Pull and push (Gortler et al. 1996): means over ever larger areas where there is nothing nearer.
    """
    known = (mask == 0).astype(np.float32)
    if known.all() or not known.any():
        return values * known
    weighted, weights = [values * known], [known]
    while min(weights[-1].shape) > 1:
        weighted.append(cv2.pyrDown(weighted[-1]))
        weights.append(cv2.pyrDown(weights[-1]))
    found = weighted[-1] / np.maximum(weights[-1], 1e-6)
    for total, weight in zip(weighted[-2::-1], weights[-2::-1], strict=True):
        coarse = cv2.pyrUp(found, dstsize=weight.shape[::-1])
        share = np.clip(weight, 0, 1)
        found = np.where(weight > 1e-6, total / np.maximum(weight, 1e-6), 0) * share
        found = found + (1 - share) * coarse
    filled: Plane = found.astype(np.float32)
    return filled


def _add(xray: UInt8, frame: Frame, change: Plane, mask: Plane) -> tuple[UInt8, float]:
    """Add a change (S, S) of the frame to the X-ray; return it and the share that is touched."""
    rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
    picture = xray.copy()
    if not len(rows):
        return picture, 0.0
    side = mask.shape[0]
    scale = (frame.height / side, frame.width / side)
    top = max(int(frame.top + (rows[0] - 1) * scale[0]), 0)
    bottom = min(int(np.ceil(frame.top + (rows[-1] + 2) * scale[0])), xray.shape[0])
    left = max(int(frame.left + (columns[0] - 1) * scale[1]), 0)
    right = min(int(np.ceil(frame.left + (columns[-1] + 2) * scale[1])), xray.shape[1])
    # From a pixel of the X-ray to its place in the frame, pixel centres at halves.
    back = np.array(
        [
            [1 / scale[1], 0, (left + 0.5 - frame.left) / scale[1] - 0.5],
            [0, 1 / scale[0], (top + 0.5 - frame.top) / scale[0] - 0.5],
        ]
    )
    size = (right - left, bottom - top)
    kind = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    enlarged = cv2.warpAffine(change, back, size, flags=kind, borderMode=cv2.BORDER_CONSTANT)
    part = picture[top:bottom, left:right]
    drawn = cv2.add(part, enlarged, dtype=cv2.CV_8U)
    touched = float((drawn != part).sum()) / xray.size
    picture[top:bottom, left:right] = drawn
    return picture, touched


def _blur(plane: Plane, deviation: float) -> Plane:
    return cv2.GaussianBlur(plane, (0, 0), max(deviation, 1e-3)).astype(np.float32)


def _disc(diameter: float) -> NDArray[np.uint8]:
    size = max(round(diameter), 1) | 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)).astype(np.uint8)
