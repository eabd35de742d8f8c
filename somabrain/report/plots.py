"""Small charts as inline SVG: shares with their intervals, what thresholds save, how odds came true."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from somabrain.oak.learning import Calibration, Reliability, Stopping
from somabrain.report.model import Share
from somabrain.report.shares import share
from somabrain.report.words import fine_percent, many, percent, span

STRIP_WIDTH, STRIP_HEIGHT, STRIP_EDGE, STRIP_DOT = 200.0, 18.0, 6.0, 4.5
BAND_WIDTH = 5.0
"""Of a share: the box, the room beside 0 and 100 %, the dot's radius and the width of the interval's line."""

WIDTH, HEIGHT = 620.0, 330.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 96.0, 18.0, 44.0
"""Of a plot: the box and the room around the axes."""

SQUARE = 400.0
"""Side of the plot of odds, with its labels."""

TICK_GAP, LABEL_DROP, AXIS_DROP = 8.0, 18.0, 37.0
"""From an axis to the numbers beside it, below it, and to its title."""

MIDDLE = 4.0
"""From the middle of a line of text to its base line."""

LABEL_GAP = 16.0
"""Least distance between the base lines of two labels."""

SMALL = 12
"""Size of the text."""

STEPS = 5
"""Grid lines of an axis, besides that of 0."""

ROUNDS = (0.05, 0.1, 0.2, 0.25, 0.5, 1.0)
"""Tops of an axis."""

DOT_LEAST, DOT_MOST = 3.0, 11.0
"""Radii of the dots of a bin with the fewest predictions, and of one that has all of them."""


def strip(one: Share, tone: str) -> str:
    """A share on a line from 0 to 100 %: the interval as a band, the share as a dot. `tone`: good, bad or ink."""
    if not one.runs:
        return ""
    y = STRIP_HEIGHT / 2
    said = f"{percent(one.rate)}, 95 % interval {span(one.lower, one.upper)}"
    return (
        f'<svg viewBox="0 0 {STRIP_WIDTH:g} {STRIP_HEIGHT:g}" width="{STRIP_WIDTH:g}" height="{STRIP_HEIGHT:g}" '
        f'role="img" aria-label="{said}"><title>{said}</title>'
        f'<line class="track" x1="{_along(0)}" y1="{y}" x2="{_along(1)}" y2="{y}"/>'
        f'<line class="track" x1="{_along(0.5)}" y1="{y - STRIP_DOT}" x2="{_along(0.5)}" y2="{y + STRIP_DOT}"/>'
        f'<line class="s-{tone}" stroke-opacity=".35" stroke-width="{BAND_WIDTH}" x1="{_along(one.lower)}" y1="{y}" '
        f'x2="{_along(one.upper)}" y2="{y}"/>'
        f'<circle class="f-{tone}" cx="{_along(one.rate)}" cy="{y}" r="{STRIP_DOT}"/></svg>'
    )


def stopping_plot(found: Sequence[Stopping], best: int | None) -> str:
    """Turns saved and successes lost by threshold."""
    top = next(one for one in ROUNDS if one >= max(*(max(s.steps_saved, s.successes_lost) for s in found), 0))
    last = found[-1].threshold
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(threshold: float) -> float:
        return LEFT + width * threshold / last

    def y(value: float) -> float:
        return TOP + height * (1 - value / top)

    said = "Turns saved and successes lost by the threshold below which runs are stopped; the table beside it has both."
    parts = [
        f'<svg class="plot" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" font-size="{SMALL}">',
        f"<title>Saved and lost by threshold</title><desc>{said}</desc>",
    ]
    for step in range(STEPS + 1):
        value, threshold = top * step / STEPS, last * step / STEPS
        parts.append(f'<line class="g" x1="{LEFT}" x2="{LEFT + width:g}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>')
        parts.append(_text(LEFT - TICK_GAP, y(value) + MIDDLE, percent(value), "end", "m"))
        parts.append(_text(x(threshold), TOP + height + LABEL_DROP, percent(threshold), "middle", "m"))
    parts.append(_text(LEFT + width / 2, TOP + height + AXIS_DROP, "stop below odds of", "middle", "m"))
    if best is not None:
        at = x(found[best].threshold)
        parts.append(
            f'<line class="s-ink" stroke-dasharray="2 3" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{TOP + height:g}"/>'
        )
        label = f"{percent(found[best].threshold)} recommended"
        parts.append(_text(at + TICK_GAP, TOP + SMALL, label, "start", "halo"))
    saved, lost = y(found[-1].steps_saved), y(found[-1].successes_lost)
    if abs(saved - lost) < LABEL_GAP:
        away = (LABEL_GAP - abs(saved - lost)) / 2
        saved, lost = (saved - away, lost + away) if saved <= lost else (saved + away, lost - away)
    lines = (("steps_saved", "good", "turns saved", saved), ("successes_lost", "bad", "successes lost", lost))
    for name, tone, label, at in lines:
        dots = [(x(one.threshold), y(getattr(one, name))) for one in found]
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in [(LEFT, y(0)), *dots])
        parts.append(f'<polyline class="line s-{tone}" points="{points}"/>')
        parts += [f'<circle class="f-{tone}" r="3" cx="{a:.1f}" cy="{b:.1f}"/>' for a, b in dots]
        parts.append(_text(LEFT + width + TICK_GAP, at + MIDDLE, label, "start", f"f-{tone}"))
    return "".join([*parts, "</svg>"])


def reliability_plot(found: Calibration) -> str:
    """What was told against what came of it: a dot for each bin, larger where more was told, with its interval."""
    side = SQUARE - LEFT - TOP - BOTTOM / 2
    bottom = TOP + side

    def x(value: float) -> float:
        return LEFT + side * value

    def y(value: float) -> float:
        return bottom - side * value

    height = bottom + BOTTOM
    parts = [
        f'<svg viewBox="0 0 {SQUARE:g} {height:g}" width="{SQUARE:g}" height="{height:g}" role="img" ',
        f'font-size="{SMALL}"><title>Odds told and shares that succeeded</title>',
        "<desc>Dots on the diagonal are odds that came true; the table has the numbers.</desc>",
    ]
    for step in range(STEPS + 1):
        value = step / STEPS
        parts.append(f'<line class="g" x1="{LEFT}" x2="{x(1):g}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>')
        parts.append(_text(LEFT - TICK_GAP, y(value) + MIDDLE, percent(value), "end", "m"))
        parts.append(_text(x(value), bottom + LABEL_DROP, percent(value), "middle", "m"))
    parts.append(_text(x(0.5), bottom + AXIS_DROP, "odds told", "middle", "m"))
    parts.append(_text(LEFT + TICK_GAP, TOP + SMALL, "share that succeeded", "start", "m halo"))
    diagonal = f'x1="{x(0):g}" y1="{y(0):g}" x2="{x(1):g}" y2="{y(1):g}"'
    parts.append(f'<line class="s-edge" stroke-dasharray="4 4" {diagonal}/>')
    parts += [_bin(one, found.predictions, x(one.predicted), y) for one in found.reliability]
    return "".join([*parts, "</svg>"])


def _bin(one: Reliability, predictions: int, x: float, y: Callable[[float], float]) -> str:
    known = share(round(one.observed * one.predictions), one.predictions)
    radius = DOT_LEAST + (DOT_MOST - DOT_LEAST) * (one.predictions / predictions) ** 0.5
    said = f"told {fine_percent(one.predicted)}, came true {fine_percent(one.observed)}, "
    return (
        f'<line class="s-good" stroke-width="2" stroke-opacity=".45" x1="{x:.1f}" x2="{x:.1f}" '
        f'y1="{y(known.lower):.1f}" y2="{y(known.upper):.1f}"/>'
        f'<circle class="f-good" cx="{x:.1f}" cy="{y(one.observed):.1f}" r="{radius:.1f}">'
        f"<title>{said}{many(one.predictions, 'prediction')}</title></circle>"
    )


def _along(value: float) -> str:
    return f"{STRIP_EDGE + (STRIP_WIDTH - 2 * STRIP_EDGE) * value:.1f}"


def _text(x: float, y: float, text: str, anchor: str, classes: str) -> str:
    return f'<text class="{classes}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'
