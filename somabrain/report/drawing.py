"""The map of states as inline SVG."""

from __future__ import annotations

import html
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from somabrain.report.model import Chart, Edge, Node
from somabrain.report.names import Label
from somabrain.report.words import escaped, many, number, percent, shortened, span

WIDTH = 1000.0
NODE_WIDTH, NODE_HEIGHT, ROW_GAP = 186.0, 94.0, 58.0
MARGIN = 36.0
"""Of the map, a state's box, the room between rows, and above and below."""

CORNER = 7.0
BAR = 6.0
"""Radius of a box's corners, and height of the bar in it."""

PAD, FIRST_LINE, LINE = 11.0, 19.0, 15.0
"""From a box's side to its text, from its top to the first base line, and between lines."""

CHARACTERS, FACT_LINES = 25, 3
"""That a line of a box holds, and lines for facts."""

NAME_LEAST = 9
"""Characters that a fact's name keeps beside a long value."""

TITLE_SIZE, TEXT_SIZE = 13, 11.5

STROKE_LEAST, STROKE_MOST = 1.0, 7.0
"""Widths of the lines of a move that one run made, and of the most frequent."""

PORTS = 0.7
"""Share of a box's side that lines leave from and come to."""

BEND = 34.0
"""How far lines between boxes of one row swing out."""

ARROW_GAP = 3.0
"""From an arrow's end to the box."""

CHANGED = 0.1
"""Difference of odds from which on a move counts as one for better or worse."""

TINTS = 5
"""Colours of odds."""

TONES = ("good", "bad", "edge")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Box:
    x: float
    y: float
    width: float
    height: float
    row: int

    def port(self, part: float) -> float:
        """Where on its width the line at `part` of its ports stands, from 0 to 1."""
        return self.x + self.width * (0.5 + PORTS * (part - 0.5))


def drawn(chart: Chart, labels: Mapping[int, Label]) -> str:
    """The map. Lines lie below the boxes; wider ones were gone more often."""
    boxes = _boxes(chart)
    odds = {one.state: one.odds for one in chart.nodes}
    height = max(box.y + box.height for box in boxes.values()) + MARGIN
    said = (
        f"{many(len(chart.nodes), 'state')} in rows, those that runs come to first at the top, and how runs went "
        "between them. The table below has the same numbers."
    )
    parts = [
        f'<svg class="map" viewBox="0 0 {WIDTH:g} {height:g}" role="img" font-size="{TEXT_SIZE}">',
        f"<title>Map of states</title><desc>{said}</desc><defs>",
        *(_arrow(tone) for tone in TONES),
        "</defs>",
        *_moves(chart.edges, boxes, odds),
        *(_node(one, boxes[one.state], labels[one.state]) for one in chart.nodes),
        "</svg>",
    ]
    return "".join(parts)


def tint(odds: float) -> str:
    """The class of a colour for odds."""
    return f"o{min(int(odds * TINTS), TINTS - 1)}"


def _boxes(chart: Chart) -> dict[int, _Box]:
    rows: dict[int, list[int]] = defaultdict(list)
    for one in chart.nodes:
        rows[one.row].append(one.state)
    boxes = {}
    for row, states in rows.items():
        y = MARGIN + row * (NODE_HEIGHT + ROW_GAP)
        for state, x in zip(states, _spread(len(states), NODE_WIDTH), strict=True):
            boxes[state] = _Box(x=x, y=y, width=NODE_WIDTH, height=NODE_HEIGHT, row=row)
    return boxes


def _spread(count: int, width: float) -> list[float]:
    """Left sides of so many boxes of a row, evenly over the map."""
    room = (WIDTH - count * width) / (count + 1)
    return [room + k * (width + room) for k in range(count)]


def _moves(edges: Sequence[Edge], boxes: Mapping[int, _Box], odds: Mapping[int, float]) -> list[str]:
    """The lines, rarer ones below."""
    most = max((one.times for one in edges), default=1)
    leaving, coming = _parts(edges, boxes)
    found = []
    for one in sorted(edges, key=lambda edge: (edge.times, edge.start, edge.end)):
        start, end = boxes[one.start], boxes[one.end]
        x1, x2 = start.port(leaving[one]), end.port(coming[one])
        down = end.row > start.row
        if end.row == start.row:
            y1, y2 = start.y, end.y - ARROW_GAP
            path = f"M{x1:.1f} {y1:.1f}C{x1:.1f} {y1 - BEND:.1f} {x2:.1f} {y2 - BEND:.1f} {x2:.1f} {y2:.1f}"
        else:
            y1, y2 = (start.y + start.height, end.y - ARROW_GAP) if down else (start.y, end.y + end.height + ARROW_GAP)
            middle = (y1 + y2) / 2
            path = f"M{x1:.1f} {y1:.1f}C{x1:.1f} {middle:.1f} {x2:.1f} {middle:.1f} {x2:.1f} {y2:.1f}"
        tone = _tone(one, odds)
        width = STROKE_LEAST + (STROKE_MOST - STROKE_LEAST) * (one.times / most) ** 0.5
        back = "" if down else " back"
        said = f"state {one.start} to state {one.end}: {many(one.times, 'time')}"
        found.append(
            f'<path class="move s-{tone}{back}" stroke-width="{width:.1f}" marker-end="url(#to-{tone})" d="{path}">'
            f"<title>{said}</title></path>"
        )
    return found


def _parts(edges: Sequence[Edge], boxes: Mapping[int, _Box]) -> tuple[dict[Edge, float], dict[Edge, float]]:
    """Where lines leave and come, from 0 to 1 of a box's ports: in the order of where they lead and come from."""
    by_start, by_end = defaultdict(list), defaultdict(list)
    for one in edges:
        by_start[one.start].append(one)
        by_end[one.end].append(one)
    leaving: dict[Edge, float] = {}
    coming: dict[Edge, float] = {}
    for own in by_start.values():
        own.sort(key=lambda one: (boxes[one.end].x, one.end))
        leaving |= {one: (k + 1) / (len(own) + 1) for k, one in enumerate(own)}
    for own in by_end.values():
        own.sort(key=lambda one: (boxes[one.start].x, one.start))
        coming |= {one: (k + 1) / (len(own) + 1) for k, one in enumerate(own)}
    return leaving, coming


def _tone(one: Edge, odds: Mapping[int, float]) -> str:
    change = odds[one.end] - odds[one.start]
    return "good" if change >= CHANGED else "bad" if change <= -CHANGED else "edge"


def _node(one: Node, box: _Box, label: Label) -> str:
    known = f"odds {percent(one.odds)} ({span(one.lower, one.upper)})"
    begun = f", {number(one.begun)} begin here" if one.begun else ""
    whole = (
        f"State {one.state}: {many(one.runs, 'run')}{begun}; {known}. Of {many(one.left, 'time')} that runs left it "
        f"{number(one.succeeded)} were their last before success, {number(one.failed)} before failure. {label.whole}"
    )
    x, y, right = box.x + PAD, box.y + FIRST_LINE, box.x + box.width - PAD
    return (
        f'<g class="node"><title>{escaped(whole, TITLE_LENGTH)}</title>'
        f'<rect class="{tint(one.odds)}" x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:g}" height="{box.height:g}" '
        f'rx="{CORNER}"/>'
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{TITLE_SIZE}" font-weight="650">{percent(one.odds)}</text>'
        f'<text x="{right:.1f}" y="{y:.1f}" text-anchor="end">{"▸ " if one.begun else ""}{many(one.runs, "run")} '
        f"· #{one.state}</text>"
        + "".join(
            f'<text x="{x:.1f}" y="{y + LINE * (k + 1) + 1:.1f}">{html.escape(line)}</text>'
            for k, line in enumerate(_lines(label))
        )
        + _bar(one, box)
        + "</g>"
    )


def _bar(one: Node, box: _Box) -> str:
    """How runs left the state: to success from the left, to failure from the right, on to other states between."""
    width, x, y = box.width - 2 * PAD, box.x + PAD, box.y + box.height - PAD
    good, bad = (width * part / one.left if one.left else 0.0 for part in (one.succeeded, one.failed))
    return (
        f'<rect class="rest" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{BAR}"/>'
        f'<rect class="f-good" x="{x:.1f}" y="{y:.1f}" width="{good:.1f}" height="{BAR}"/>'
        f'<rect class="f-bad" x="{x + width - bad:.1f}" y="{y:.1f}" width="{bad:.1f}" height="{BAR}"/>'
    )


TITLE_LENGTH = 400
"""Characters of what is shown when one points at a state."""


def _lines(label: Label) -> list[str]:
    """A state's facts on a few lines, each `name value`, the longer of the two cut."""
    if not label.facts:
        return [shortened(label.whole or "a vector", CHARACTERS)]
    found = []
    for name, value in label.facts[:FACT_LINES]:
        short = shortened(value, CHARACTERS - 1 - min(len(name), NAME_LEAST))
        found.append(f"{shortened(name, CHARACTERS - len(short) - 1)} {short}")
    left = len(label.facts) - FACT_LINES
    return [*found[:-1], f"{shortened(found[-1], CHARACTERS - 2)} +{left}"] if left > 0 else found


def _arrow(tone: str) -> str:
    return (
        f'<marker id="to-{tone}" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="9" markerHeight="9" '
        'markerUnits="userSpaceOnUse" orient="auto">'
        f'<path class="f-{tone}" d="M0 0.5L8 4L0 7.5z"/></marker>'
    )
