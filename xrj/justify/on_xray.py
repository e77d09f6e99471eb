"""The alternative on the patient's own X-ray: only what must change is taken from the generator.

G draws a chest anew, without the patient's ribs, vessels and devices. What differs between its
pictures of both diagnoses is a region; there the X-ray gets the generated content, moved to the
grey level of its surroundings, and everywhere else it stays as it is.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from xrj.datamodules.images import Frame, UInt8

Plane = NDArray[np.float32]
DETAIL = 4.0
"""Times its median that detail finer than the model's pixels may reach where the X-ray is redrawn:
grain stays, the borders of what was there go."""

FAINT = 4.0
"""Grey levels, of 255, by which smoothed pictures must differ in any case to be in the region."""


@dataclass(frozen=True)
class BlendSettings:
    """How the region is found and filled; lengths are shares of the picture's side.

    Attributes:
        threshold: Share of the largest difference of the smoothed pictures that must be exceeded to
            be in the region. Chains differ in how strongly they draw a change, and X-rays in
            contrast, so that grey levels would not do.
        smooth: Standard deviation of that smoothing.
        least: Share of the change in the strongest part of the region that another part must hold
            to be drawn, too.
        close: Diameter of the gaps and notches of the region that are closed.
        feather: Width over which the region's border fades.
    """

    threshold: float = 0.12
    smooth: float = 0.023
    least: float = 0.2
    close: float = 0.07
    feather: float = 0.04


@dataclass(frozen=True)
class OnXray:
    """An X-ray with the alternative drawn on it.

    Attributes:
        picture: (H, W), 0 to 255, of the X-ray's own size.
        mask: How much of each pixel is drawn, (S, S) in [0, 1], of what the model sees.
        redrawn: Share of the X-ray that is drawn, each pixel counted as much as it is.
    """

    picture: UInt8
    mask: Plane
    redrawn: float


def draw_on_xray(
    xray: UInt8, frame: Frame, seen: UInt8, before: UInt8, after: UInt8, settings: BlendSettings
) -> OnXray:
    """Draw on an X-ray what changes between two generated pictures.

    The change is added to the X-ray as it is, so grain that is finer than the generated pictures'
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
    picture = xray.copy()
    place = _Place.around(mask, frame, xray.shape)
    if place is None:
        return OnXray(picture, mask, 0.0)
    part = picture[place.rows, place.columns]
    share, seen_there = place.enlarge(mask), place.enlarge(seen.astype(np.float32))
    detail = part - seen_there
    limit = DETAIL * float(np.median(np.abs(detail[share > 0.5]))) if (share > 0.5).any() else 0.0
    change = place.enlarge(mask * (drawn - seen)) + share * (
        np.clip(detail, -limit, limit) - detail
    )
    changed = np.where(share > 0, np.clip(np.rint(part + change), 0, 255), part).astype(np.uint8)
    redrawn = float(share.sum()) / xray.size
    picture[place.rows, place.columns] = changed
    return OnXray(picture, mask, redrawn)


def change_mask(before: UInt8, after: UInt8, settings: BlendSettings) -> Plane:
    """Return how much of each pixel is to be drawn, (S, S) in [0, 1].

    1 where the smoothed pictures differ by more than the threshold and `FAINT`, without islands of
    little change, with gaps closed; from there it fades to exactly 0 within the feather.
    """
    side = before.shape[0]
    changed = _blur(cv2.absdiff(before, after).astype(np.float32), settings.smooth * side)
    least = max(settings.threshold * float(changed.max()), FAINT)
    region = _strong(changed, changed > least, settings.least)
    closed = cv2.morphologyEx(region, cv2.MORPH_CLOSE, _disc(settings.close * side))
    outside = (closed == 0).astype(np.uint8)
    inner = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    share = np.clip(1 - inner / max(settings.feather * side, 1.0), 0, 1)
    mask: Plane = (share * share * (3 - 2 * share)).astype(np.float32)
    return mask


def _strong(change: Plane, region: NDArray[np.bool_], least: float) -> NDArray[np.uint8]:
    """Return the connected parts of a region that hold enough change."""
    count, parts = cv2.connectedComponents(region.astype(np.uint8))
    held = np.bincount(parts.ravel(), change.ravel(), count)
    held[0] = 0
    strong: NDArray[np.uint8] = (held >= max(least * held.max(), 1e-6))[parts].astype(np.uint8)
    return strong


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


@dataclass(frozen=True)
class _Place:
    """The part of an X-ray around a mask, and the way there from the frame's (S, S) pixels."""

    rows: slice
    columns: slice
    back: NDArray[np.float64]

    @classmethod
    def around(cls, mask: Plane, frame: Frame, shape: tuple[int, ...]) -> "_Place | None":
        """Return the part that a mask touches; None where it is empty."""
        parts, lines = [], []
        for axis, start, length, end in (
            (1, frame.top, frame.height, shape[0]),
            (0, frame.left, frame.width, shape[1]),
        ):
            touched = np.flatnonzero(mask.max(axis=axis))
            if not len(touched):
                return None
            scale = length / len(mask)
            first = max(int(start + (touched[0] - 1) * scale), 0)
            last = min(int(np.ceil(start + (touched[-1] + 2) * scale)), end)
            parts.append(slice(first, last))
            # From a pixel of the X-ray to its place in the frame, centres at halves.
            lines.append((1 / scale, (first + 0.5 - start) / scale - 0.5))
        (down, top), (across, left) = lines
        back = np.array([[across, 0, left], [0, down, top]])
        return cls(parts[0], parts[1], back)

    def enlarge(self, plane: Plane) -> Plane:
        """Return a plane of the frame, (S, S), at the part's pixels."""
        size = (self.columns.stop - self.columns.start, self.rows.stop - self.rows.start)
        enlarged = cv2.warpAffine(
            plane,
            self.back,
            size,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return enlarged.astype(np.float32, copy=False)


def _blur(plane: Plane, deviation: float) -> Plane:
    return cv2.GaussianBlur(plane, (0, 0), max(deviation, 1e-3)).astype(np.float32)


def _disc(diameter: float) -> NDArray[np.uint8]:
    size = max(round(diameter), 1) | 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)).astype(np.uint8)
