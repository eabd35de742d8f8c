"""What was learned as a picture: the action in each cell, by where the passenger is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from somabrain.demo.taxi import IN_TAXI, PLACES

SIDE = 5
"""Rows and columns of the world."""
SIZE_INCHES = (14.0, 3.6)
DOTS_PER_INCH = 110
MARKS = {"south": "↓", "north": "↑", "east": "→", "west": "←", "pick up": "P", "put down": "D"}
UNKNOWN = "?"
TARGET_SIZE = 420
TARGET_WIDTH = 1.2
MARK_SIZE = 13
COLOURS = "viridis_r"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A state: what is done there, the steps left, `None` without a way, and if a plan's option leads there."""

    passenger: str
    row: int
    column: int
    action: str | None
    steps: float | None
    target: bool


def draw_map(places: Sequence[Place], title: str, path: Path) -> None:
    """Writes the map as PNG, whatever the path's ending. Raises `OSError`."""
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    FigureCanvasAgg(figure)
    shown = [name for name in (*PLACES, IN_TAXI) if any(place.passenger == name for place in places)]
    panels = np.atleast_1d(figure.subplots(1, max(1, len(shown)), sharey=True))
    most = max((place.steps for place in places if place.steps is not None), default=1.0)
    image = None
    for panel, passenger in zip(panels, shown, strict=True):
        cells = np.full((SIDE, SIDE), np.nan)
        for place in places:
            if place.passenger != passenger:
                continue
            cells[place.row, place.column] = np.nan if place.steps is None else place.steps
            mark = UNKNOWN if place.action is None else MARKS[place.action]
            panel.text(place.column, place.row, mark, ha="center", va="center", size=MARK_SIZE, color="black")
            if place.target:
                panel.scatter(
                    place.column,
                    place.row,
                    s=TARGET_SIZE,
                    facecolors="none",
                    edgecolors="black",
                    linewidths=TARGET_WIDTH,
                )
        image = panel.imshow(cells, cmap=COLOURS, vmin=0, vmax=most, alpha=0.5)
        panel.set_title("passenger in the taxi" if passenger == IN_TAXI else f"passenger waits at {passenger}")
        panel.set_xticks([])
        panel.set_yticks([])
    figure.suptitle(f"{title}   (circles: where options that plans take lead)")
    if image is not None:
        figure.colorbar(image, ax=list(panels), label="steps to the goal")
    figure.savefig(path, dpi=DOTS_PER_INCH, format="png")
