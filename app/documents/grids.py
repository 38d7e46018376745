"""Tables drawn with lines: grids of cells from the ruling lines of a page.

Pure geometry in points as the page is shown, y downwards. A line is a row of a float array [n, 3]:
its place across itself, its start and its end along itself. Lines that touch make a grid; where
the line between two neighbouring cells is missing they are one cell.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

TOLERANCE = 3.0  # points: double lines are one, ends this far apart touch
LEAST_LENGTH = 4.0  # points
MOST_LINES = 1500  # of each direction: more is a drawing
MOST_CELLS = 10_000  # of one grid
_COVERED = 0.6  # of a cell's side, for a line to part it from its neighbour


@dataclass(frozen=True, slots=True)
class Grid:
    """Borders of columns and rows, and for each place the cell it belongs to.

    owner: int [rows, columns]; the number of a cell is that of its first place, row by row.
    """

    xs: np.ndarray
    ys: np.ndarray
    owner: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.owner.shape
        return rows, columns

    def cells_at(self, points: np.ndarray) -> np.ndarray:
        """The cell in which each point [n, 2] lies, int [n]; -1 outside."""
        columns = np.searchsorted(self.xs, points[:, 0], side="right") - 1
        rows = np.searchsorted(self.ys, points[:, 1], side="right") - 1
        inside = (columns >= 0) & (columns < len(self.xs) - 1)
        inside &= (rows >= 0) & (rows < len(self.ys) - 1)
        found = np.full(len(points), -1)
        found[inside] = self.owner[rows[inside], columns[inside]]
        return found

    def span(self, cell: int) -> tuple[int, int, int, int]:
        """First row, first column, and the last ones plus one, of a cell."""
        rows, columns = np.nonzero(self.owner == cell)
        return int(rows.min()), int(columns.min()), int(rows.max()) + 1, int(columns.max()) + 1


def joined(lines: np.ndarray) -> np.ndarray:
    """Lines beside each other at one place as one; pieces of dashed ones too; short ones go."""
    lines = lines[np.lexsort((lines[:, 1], lines[:, 0]))]
    places = clustered(lines[:, 0])
    found: list[list[float]] = []
    for number in range(int(places.max()) + 1 if len(places) else 0):
        here = lines[places == number]
        place = float(here[:, 0].mean())
        start = len(found)
        for _, begin, end in here[np.argsort(here[:, 1], kind="stable")]:
            if len(found) > start and begin <= found[-1][2] + TOLERANCE:
                found[-1][2] = max(found[-1][2], float(end))
            else:
                found.append([place, float(begin), float(end)])
    whole = np.array(found).reshape(-1, 3)
    return whole[whole[:, 2] - whole[:, 1] >= LEAST_LENGTH]


def clustered(values: np.ndarray) -> np.ndarray:
    """For each of the sorted values the number of its group; a group is `TOLERANCE` wide."""
    groups = np.zeros(len(values), np.int64)
    first, group = -np.inf, -1
    for index, value in enumerate(values):
        if value - first > TOLERANCE:
            first, group = value, group + 1
        groups[index] = group
    return groups


def find_grids(across: np.ndarray, down: np.ndarray) -> list[Grid]:
    """All grids of at least two columns, from the top.

    Args:
        across: horizontal lines, joined.
        down: vertical lines, joined.
    """
    if not (2 <= len(across) <= MOST_LINES and 1 <= len(down) <= MOST_LINES):
        return []
    found = []
    for rows, columns in _connected(_touching(across, down)):
        grid = _grid(across[rows], down[columns])
        if grid is not None:
            found.append(grid)
    return sorted(found, key=lambda grid: (float(grid.ys[0]), float(grid.xs[0])))


def _touching(across: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Which lines of the two directions meet, bool [across, down]."""
    y, x0, x1 = (column[:, None] for column in across.T)
    x, y0, y1 = (column[None, :] for column in down.T)
    meets = (x >= x0 - TOLERANCE) & (x <= x1 + TOLERANCE)
    return meets & (y >= y0 - TOLERANCE) & (y <= y1 + TOLERANCE)


def _connected(touching: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Lines that hang together: horizontal and vertical ones, as masks."""
    left = touching.any(axis=1)
    while left.any():
        rows = np.zeros(len(touching), bool)
        rows[int(np.argmax(left))] = True
        columns = np.zeros(touching.shape[1], bool)
        count = 0
        while (now := int(rows.sum() + columns.sum())) != count:
            count = now
            columns = np.asarray(touching[rows].any(axis=0))
            rows = np.asarray(touching[:, columns].any(axis=1))
        left &= ~rows
        yield rows, columns


def _grid(across: np.ndarray, down: np.ndarray) -> Grid | None:
    """Lines that hang together as a grid; an open side ends where the lines across it end."""
    xs = _borders(down[:, 0], across[:, 1:])
    ys = _borders(across[:, 0], down[:, 1:])
    rows, columns = len(ys) - 1, len(xs) - 1
    if rows < 1 or columns < 2 or rows * columns > MOST_CELLS:
        return None
    # [rows, columns - 1]: a line between a cell and the one right of it; and [rows - 1, columns].
    beside = np.array([_covered(down, x, ys) for x in xs[1:-1]]).T
    below = np.array([_covered(across, y, xs) for y in ys[1:-1]], bool).reshape(rows - 1, columns)
    return _without_blanks(xs, ys, _owners(beside, below))


def _borders(places: np.ndarray, ends: np.ndarray) -> np.ndarray:
    values = np.sort(np.concatenate([places, [ends.min(), ends.max()]]))
    groups = clustered(values)
    return np.array([values[groups == number].mean() for number in range(int(groups.max()) + 1)])


def _covered(lines: np.ndarray, place: float, borders: np.ndarray) -> np.ndarray:
    """Whether the lines at a place cover each stretch between two borders, bool [n - 1]."""
    here = lines[np.abs(lines[:, 0] - place) <= TOLERANCE]
    starts, ends = borders[:-1], borders[1:]
    shared = np.minimum(here[:, 2:], ends[None]) - np.maximum(here[:, 1:2], starts[None])
    return shared.clip(0).sum(axis=0) >= _COVERED * (ends - starts)


def _owners(beside: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Places that no line parts have one owner: the first of them."""
    rows, columns = beside.shape[0], below.shape[1]
    owner = np.arange(rows * columns).reshape(rows, columns)
    while True:
        before = owner.copy()
        for first, second, line in (
            (owner[:, :-1], owner[:, 1:], beside),
            (owner[:-1], owner[1:], below),
        ):
            least = np.minimum(first, second)
            first[~line] = least[~line]
            second[~line] = least[~line]
        if np.array_equal(before, owner):
            return owner


def _without_blanks(xs: np.ndarray, ys: np.ndarray, owner: np.ndarray) -> Grid | None:
    """Rows and columns in which no cell begins come from the lines' own thickness."""
    places = np.arange(owner.size).reshape(owner.shape)
    begins = owner == places
    kept_rows, kept_columns = begins.any(axis=1), begins.any(axis=0)
    kept_rows[0] = kept_columns[0] = True
    if kept_columns.sum() < 2 or not _rectangles(owner):
        return None
    inside = owner[kept_rows][:, kept_columns]
    _, first, inverse = np.unique(inside, return_index=True, return_inverse=True)
    return Grid(
        np.append(xs[:-1][kept_columns], xs[-1]),
        np.append(ys[:-1][kept_rows], ys[-1]),
        first[inverse].reshape(inside.shape),
    )


def _rectangles(owner: np.ndarray) -> bool:
    """Nearly all cells are: in drawings they are not."""
    ragged = 0
    cells, counts = np.unique(owner, return_counts=True)
    for cell in cells[counts > 1]:
        rows, columns = np.nonzero(owner == cell)
        area = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        ragged += int(area != len(rows))
    return ragged <= 0.1 * len(cells)
