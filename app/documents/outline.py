"""The outline of a page in a photo: four corners, or nothing when the picture is the page itself.

A page is a bright quadrilateral, brighter than what lies around it along every side that the photo
shows. Framed boxes on a page fail that test (white on both sides), and so do pictures on it (darker
than what lies around them).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import cv2
import numpy as np

from app.documents.shade import LEAST_NOISE, camera_noise
from app.documents.skew import ink, letters

SEARCH_SIDE = 640  # pixels, for finding; refined in the picture as given
LEAST_AREA = 0.15  # of the picture
MOST_AREA = 0.97
LEAST_CONTRAST = 12.0  # grey levels between page and desk, median along a side
LEAST_BRIGHT_SHARE = 0.5  # of the inside, as light as paper
LEAST_DEVIATION = 0.008  # of the diagonal, from an upright rectangle
BORDER = 0.012  # of the diagonal: a side this near the picture's edge is cut off by it
MOST_OUTSIDE = 0.05  # of the letters, for an outline that stands upright
_SAMPLES = 60  # along a side


def find_outline(rgb: np.ndarray) -> np.ndarray | None:
    """Corners of the page: float32 [4, 2] in pixels, top left first, clockwise; or None.

    Args:
        rgb: uint8 [h, w, 3], about 1,000 to 2,000 pixels long.
    """
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    scale = min(1.0, SEARCH_SIDE / max(grey.shape))
    small_rgb = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    plain = cv2.cvtColor(small_rgb, cv2.COLOR_RGB2GRAY)
    small = _without_writing(plain)
    best, best_score = None, 0.0
    for quad in _candidates(small, small_rgb):
        score = _score(quad, small, plain)
        if score > best_score:
            best, best_score = quad, score
    if best is None:
        return None
    refined = _refined((best / scale).astype(np.float32), grey)
    if _deviation(refined, grey.shape) >= LEAST_DEVIATION:
        return refined
    # Upright: a frame in a drawing, a box on a scanned page, or a photo from straight above.
    seen_by_camera = camera_noise(grey) >= LEAST_NOISE
    return refined if seen_by_camera and _writing_outside(refined, grey) <= MOST_OUTSIDE else None


def _without_writing(grey: np.ndarray) -> np.ndarray:
    """Closing fills dark letters with the paper around them."""
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (13, 13))
    return cv2.GaussianBlur(cv2.morphologyEx(grey, cv2.MORPH_CLOSE, kernel), (5, 5), 0)


def _candidates(small: np.ndarray, rgb: np.ndarray) -> Iterator[np.ndarray]:
    for mask in _masks(small, rgb):
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        for contour in sorted(contours, key=cv2.contourArea, reverse=True)[:3]:
            if cv2.contourArea(contour) < LEAST_AREA * mask.size:
                break
            quad = _four_corners(cv2.convexHull(contour))
            if quad is not None:
                yield quad


def _masks(small: np.ndarray, rgb: np.ndarray) -> Iterator[np.ndarray]:
    """Several ways to tell paper from desk: one of them works in most light."""
    level, mask = cv2.threshold(small, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    yield mask
    for shift in (-40, -20, 20, 40):
        yield cv2.threshold(small, level + shift, 255, cv2.THRESH_BINARY)[1]
    colour = cv2.GaussianBlur(cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)[:, :, 1], (9, 9), 0)
    yield cv2.threshold(colour, 0, 255, cv2.THRESH_BINARY_INV | cv2.THRESH_OTSU)[1]
    # A shadow over the page's edge defeats every level, but not the edge itself.
    edges = cv2.dilate(cv2.Canny(small, 20, 60), np.ones((3, 3), np.uint8))
    contours, _ = cv2.findContours(edges, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    filled = np.zeros_like(small)
    cv2.drawContours(filled, contours, -1, 255, cv2.FILLED)
    yield cv2.erode(filled, np.ones((3, 3), np.uint8))


def _four_corners(hull: np.ndarray) -> np.ndarray | None:
    """The hull with corners cut away until four are left; float32 [4, 2] in order, or None."""
    around = cv2.arcLength(hull, closed=True)
    for tolerance in (0.01, 0.02, 0.03, 0.05):
        corners = cv2.approxPolyDP(hull, tolerance * around, closed=True)
        if len(corners) == 4 and cv2.isContourConvex(corners):
            return ordered(corners.reshape(4, 2).astype(np.float32))
    return None


def ordered(corners: np.ndarray) -> np.ndarray:
    """Top left, top right, bottom right, bottom left."""
    middle = corners.mean(axis=0)
    angles = np.arctan2(corners[:, 1] - middle[1], corners[:, 0] - middle[0])
    around = corners[np.argsort(angles)]  # clockwise on the screen, from the left
    return np.roll(around, -int(np.argmin(around.sum(axis=1))), axis=0)


def _score(quad: np.ndarray, small: np.ndarray, plain: np.ndarray) -> float:
    """Area times the contrast of the faintest side; 0 for what cannot be a page."""
    height, width = small.shape
    share = cv2.contourArea(quad) / (height * width)
    if not LEAST_AREA <= share <= MOST_AREA or not _plausible(quad):
        return 0.0
    contrasts = _contrasts(quad, small)
    if len(contrasts) < 2 or min(contrasts) < LEAST_CONTRAST:
        return 0.0
    inside = np.zeros_like(small)
    cv2.fillConvexPoly(inside, quad.astype(np.int32), 255)
    values = small[inside > 0]
    # Paper is light between the letters; light letters on a dark ground are no paper.
    if float(np.median(plain[inside > 0])) < 0.6 * float(np.median(values)):
        return 0.0
    if float((values >= 0.6 * np.percentile(values, 90)).mean()) < LEAST_BRIGHT_SHARE:
        return 0.0
    return share * min(min(contrasts), 40.0)


def _plausible(quad: np.ndarray) -> bool:
    """Angles between 50 and 130 degrees: no camera is held more askew."""
    for index in range(4):
        before = quad[index - 1] - quad[index]
        after = quad[(index + 1) % 4] - quad[index]
        lengths = float(np.linalg.norm(before) * np.linalg.norm(after))
        if lengths < 1.0 or abs(float(before @ after)) / lengths > math.cos(math.radians(50)):
            return False
    return True


def _writing_outside(quad: np.ndarray, grey: np.ndarray) -> float:
    """Share of all letters that lie outside."""
    boxes = letters(ink(cv2.GaussianBlur(grey, (3, 3), 0)))
    middles = boxes[:, :2] + boxes[:, 2:] / 2
    outline = quad.reshape(-1, 1, 2)
    inside = [cv2.pointPolygonTest(outline, (float(x), float(y)), False) >= 0 for x, y in middles]
    return 1.0 - sum(inside) / max(len(inside), 1)


def _contrasts(quad: np.ndarray, grey: np.ndarray) -> list[float]:
    """For each side in view: how much lighter it is inside than outside, median along it."""
    height, width = grey.shape
    diagonal = math.hypot(height, width)
    found = []
    for start, direction, inward, length in _sides(quad):
        along = np.linspace(0.06, 0.94, _SAMPLES)[:, None] * length * direction + start
        if _cut_off(along, width, height, BORDER * diagonal):
            continue
        offset = 0.014 * diagonal * inward
        difference = _at(grey, along + offset) - _at(grey, along - offset)
        found.append(float(np.median(difference)))
    return found


def _sides(quad: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, float]]:
    """Start, unit direction, unit normal towards the inside, and length of each side."""
    for index in range(4):
        start, end = quad[index], quad[(index + 1) % 4]
        length = float(np.linalg.norm(end - start))
        direction = (end - start) / max(length, 1e-6)
        yield start, direction, np.array([-direction[1], direction[0]]), length


def _cut_off(points: np.ndarray, width: int, height: int, border: float) -> bool:
    near = np.minimum.reduce(
        [points[:, 0], points[:, 1], width - 1 - points[:, 0], height - 1 - points[:, 1]]
    )
    return float((near < border).mean()) > 0.5


def _at(grey: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Values at points [n, 2], between pixels too, as float32 [n]."""
    x, y = points[:, 0].astype(np.float32), points[:, 1].astype(np.float32)
    found = cv2.remap(grey, x[None], y[None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return found[0].astype(np.float32)


def _refined(quad: np.ndarray, grey: np.ndarray) -> np.ndarray:
    """Each side moved to the steepest step from desk to paper, corners where sides meet."""
    height, width = grey.shape
    reach = 0.012 * math.hypot(height, width)
    smooth = cv2.GaussianBlur(grey, (0, 0), 1.5)
    lines = []
    for start, direction, inward, length in _sides(quad):
        along = np.linspace(0.04, 0.96, _SAMPLES)[:, None] * length * direction + start
        lines.append(_edge_line(smooth, along, inward, reach) or (start, direction))
    corners = [_crossing(lines[index - 1], lines[index]) for index in range(4)]
    if any(corner is None for corner in corners):
        return quad
    refined = np.array(corners, dtype=np.float32)
    far = np.linalg.norm(refined - quad, axis=1).max() > 3 * reach
    return quad if far else refined


def _edge_line(
    grey: np.ndarray, along: np.ndarray, inward: np.ndarray, reach: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """Point and direction of the line through the steps found near a side."""
    steps = np.arange(-reach, reach + 1e-6, 0.5)
    points = along[:, None, :] + steps[None, :, None] * inward
    profile = _at(grey, points.reshape(-1, 2)).reshape(len(along), len(steps))
    rise = profile[:, 4:] - profile[:, :-4]
    strongest = rise.argmax(axis=1)
    clear = rise[np.arange(len(along)), strongest] >= LEAST_CONTRAST / 2
    if clear.sum() < _SAMPLES // 3:
        return None
    found = along + steps[strongest + 2][:, None] * inward
    line = cv2.fitLine(found[clear].astype(np.float32), cv2.DIST_HUBER, 0, 0.01, 0.01).ravel()
    return line[2:], line[:2]


def _crossing(
    first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]
) -> np.ndarray | None:
    (p, d), (q, e) = first, second
    area = float(d[0] * e[1] - d[1] * e[0])
    if abs(area) < 1e-3:
        return None
    t = float((q[0] - p[0]) * e[1] - (q[1] - p[1]) * e[0]) / area
    return p + t * d


def _deviation(quad: np.ndarray, shape: tuple[int, ...]) -> float:
    """How far the corners are from those of an upright rectangle, as a share of the diagonal."""
    left, right = np.sort(quad[:, 0])[:2].mean(), np.sort(quad[:, 0])[2:].mean()
    top, bottom = np.sort(quad[:, 1])[:2].mean(), np.sort(quad[:, 1])[2:].mean()
    upright = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    return float(np.linalg.norm(quad - upright, axis=1).max()) / math.hypot(*shape[:2])


def page_size(quad: np.ndarray, width: int, height: int) -> tuple[float, float]:
    """Width and height of the flat page, in pixels of the photo.

    The aspect ratio is that of a rectangle seen by a camera whose axis goes through the middle of
    the picture (Zhang and He, "Whiteboard scanning and image enhancement", 2007, section 3.2);
    without enough perspective to tell, that of the mean sides.
    """
    top, right, bottom, left = (np.linalg.norm(quad[i] - quad[(i + 1) % 4]) for i in range(4))
    wide, high = float(max(top, bottom)), float(max(left, right))
    mean_ratio = float((top + bottom) / max(left + right, 1e-6))
    ratio = _true_ratio(quad.astype(np.float64) - [width / 2, height / 2]) or mean_ratio
    if not mean_ratio / 1.6 < ratio < mean_ratio * 1.6:
        ratio = mean_ratio
    # The longer measure keeps its pixels; the other follows.
    return (wide, wide / ratio) if wide / ratio >= high else (high * ratio, high)


def _true_ratio(quad: np.ndarray) -> float | None:
    m1, m2, m4, m3 = (np.append(corner, 1.0) for corner in quad)
    k2 = np.dot(np.cross(m1, m4), m3) / np.dot(np.cross(m2, m4), m3)
    k3 = np.dot(np.cross(m1, m4), m2) / np.dot(np.cross(m3, m4), m2)
    n2, n3 = k2 * m2 - m1, k3 * m3 - m1
    if abs(n2[2] * n3[2]) < 1e-3:
        return None
    focal_squared = -(n2[0] * n3[0] + n2[1] * n3[1]) / (n2[2] * n3[2])
    if not 1e4 < focal_squared < 1e9:
        return None
    weight = np.array([1.0, 1.0, focal_squared])
    return math.sqrt(float((n2 * n2 / weight).sum() / (n3 * n3 / weight).sum())) or None
