"""The learning curve as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from somabrain.demo.curve import Point

SIZE_INCHES = (7.0, 5.0)
DOTS_PER_INCH = 120
HEIGHTS = (3, 2)
"""Of the panels, return over share."""
LINE = "#1f6f8b"
REFERENCE = "#c0392b"
GRID_ALPHA = 0.25
HEADROOM = 0.08
"""Of a panel's height, above and below what it shows."""
PERCENT = 100


def draw(points: Sequence[Point], best: float, title: str, path: Path) -> None:
    """Writes the curve as PNG, whatever the path's ending. Raises `OSError`."""
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    FigureCanvasAgg(figure)
    returns, shares = figure.subplots(2, 1, sharex=True, height_ratios=HEIGHTS)
    episodes = [point.episodes for point in points]
    earned = [point.expected.mean_return for point in points]
    solved = [PERCENT * point.expected.solved for point in points]

    returns.axhline(best, color=REFERENCE, linestyle="--", linewidth=1, label=f"optimum {best:.2f}")
    returns.plot(episodes, earned, color=LINE, marker="o", label=f"plans, {earned[-1]:.2f} in the end")
    returns.set_ylabel("mean return of all starts")
    returns.set_title(title)
    returns.legend(loc="lower right", frameon=False)

    shares.plot(episodes, solved, color=LINE, marker="o")
    shares.set_ylim(-PERCENT * HEADROOM, PERCENT * (1 + HEADROOM))
    shares.set_ylabel("starts solved, %")
    shares.set_xlabel("random episodes learned from")

    for panel in (returns, shares):
        panel.grid(visible=True, alpha=GRID_ALPHA)
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=DOTS_PER_INCH, format="png")
