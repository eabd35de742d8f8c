"""The sections of the page about the world: its map, its skills, its actions, and how all was counted."""

from __future__ import annotations

from somabrain.report.drawing import drawn
from somabrain.report.model import Findings, ToolUse
from somabrain.report.names import Label, labels
from somabrain.report.pieces import action_name, left_out, row, scrolling, state_facts, table, told_facts
from somabrain.report.runs import Skill
from somabrain.report.summary import Names
from somabrain.report.words import about, escaped, many, number, percent, span

NAME_LENGTH = 120
"""Characters of a skill's name."""

DURATION_MAX = 1_000
"""Steps of a forecast above which it only says that a skill seldom arrives."""

DISCOVERED = "discovered"
"""The source of skills that are named by their targets."""


def mapping(found: Findings, names: Names) -> str:
    """The map of states."""
    chart = found.chart
    if not chart.nodes:
        return _section("map", "Map of states", "<p>No run was reported, so there is no state yet.</p>")
    hidden = chart.states - len(chart.nodes)
    text = (
        f"<p>The {many(len(chart.nodes), 'state')} that matter most, by how many runs came there and how far the odds "
        f"there differ from those of all runs{f'; {number(hidden)} more are left out' if hidden else ''}. Boxes show "
        "the "
        "odds of success from there, ▸ marks those that runs begin in. A line from one state to the next passes over "
        "states "
        "that are left out; "
        f"{number(chart.moves_shown)} of {number(chart.moves)} are drawn, wider where more runs went.</p>"
    )
    legend = (
        '<ul class="legend">'
        f"<li>{_swatch('s-good')}odds rise by 10 points or more</li><li>{_swatch('s-bad')}odds fall as much</li>"
        f"<li>{_swatch('s-edge')}neither</li><li>{_swatch('s-edge back')}back, or to the same row</li>"
        f"<li>{_swatch('s-good', whole=True)}succeeded without another of these states</li>"
        f"<li>{_swatch('s-bad', whole=True)}failed</li></ul>"
    )
    onward = {one.start: one for one in sorted(chart.edges, key=lambda edge: (edge.times, edge.start, edge.end))}
    rows = []
    for one in sorted(chart.nodes, key=lambda node: (-node.runs, node.state)):
        move = onward.get(one.state)
        rows.append(
            row(
                state_facts(names.states[one.state]),
                [
                    f"#{number(one.runs)}",
                    f"#{number(one.begun)}",
                    f"#{percent(one.odds)}",
                    f"#{span(one.lower, one.upper)}",
                    f"#{number(one.succeeded)}",
                    f"#{number(one.failed)}",
                    "" if move is None else f"state {move.end} ({number(move.times)})",
                ],
            )
        )
    heads = (
        "State",
        "#Runs",
        "#Begin here",
        "#Odds",
        "#95 % interval",
        "#Then succeeded",
        "#Then failed",
        "Most often on to",
    )
    caption = (
        "The same in numbers. Then succeeded, then failed: runs that came to their end without another of these "
        "states; "
        "the others went on, most often as the last column says (how often)."
    )
    return _section(
        "map",
        "Map of states",
        f'{text}<figure class="box">{legend}{scrolling(drawn(chart, names.states), "map")}</figure>'
        f'<div class="box">{table(caption, heads, rows, wide=True)}</div>',
    )


def skills(found: Findings) -> str:
    """Options that are no primitives."""
    head = "Skills"
    if not found.skills:
        text = (
            "<p>No skill is known. Skills are declared, or worked out from episodes in the background after every few "
            "dozen of them (<code>somabrain consolidate</code> does it now).</p>"
        )
        return _section("skills", head, text)
    text = (
        "<p>Declared skills are yours; discovered ones were worked out from raw steps, as ways to states that "
        "matter: they are told by the facts that tell their targets apart. "
        "<em>Seen</em> is what agents reported of running a skill; <em>expected</em> what the model made of single "
        "steps "
        "says, in the mean over where agents were. Evidence is how many equally weighted runs the counts are "
        "worth, since old ones are forgotten.</p>"
    )
    heads = ("Skill", "Kind", "#Runs", "#Evidence", "Succeeded, seen", "#Expected", "#Begins in", "#Steps")
    targets = labels({place: one.target for place, one in enumerate(found.skills)})
    rows = [_skill(one, targets[place]) for place, one in enumerate(found.skills)]
    caption = "Those that agents ran most, then those that would serve most often."
    return _section(
        "skills",
        head,
        f"{text}<div "
        f'class="box">{table(caption, heads, rows, wide=True)}{left_out(found.skills_left_out, "skills are")}'
        "</div>",
    )


def actions(found: Findings, names: Names) -> str:
    """Primitive actions."""
    if not found.tools:
        return _section("actions", "Actions", "<p>No action was reported.</p>")
    text = (
        "<p>How often each action was taken, how often the agent said that it had not worked, and how the runs did "
        "that "
        "took it at least once. A share that is low is a place to look at, not yet a cause.</p>"
    )
    heads = ("Action", "#Taken", "#Did not work", "#Runs with it", "#of these succeeded", "#95 % interval")
    caption = "Actions, those taken most often first."
    rows = [_tool(one, names) for one in found.tools]
    return _section(
        "actions",
        "Actions",
        f"{text}<div "
        f'class="box">{table(caption, heads, rows, wide=True)}{left_out(found.tools_left_out, "actions are")}'
        "</div>",
    )


def method(found: Findings) -> str:
    """How all was counted."""
    goal = (
        "<li>Success is, in this report, that a run came to a state where "
        f"<bdi>{escaped(found.goal, NAME_LENGTH)}</bdi> "
        "holds; it ends there.</li>"
        if found.goal is not None
        else ""
    )
    return _section(
        "how",
        "How to read this",
        "<ul>"
        f"{goal}<li>Made from the runs in the database alone. Nothing on this page is loaded from elsewhere, and "
        "nothing "
        "was sent anywhere.</li>"
        "<li>A <em>turn</em> is one decision of the agent; a <em>state</em> is what it knew then, as facts. A run "
        "counts "
        "once for each state and action, however often it came back.</li>"
        "<li>Intervals are Wilson’s at 95 %. Many places are compared, so one in some dozens may stand out by chance: "
        "look at a few runs before you change the agent.</li>"
        "<li>What the successful runs did differently need not be why they succeeded: harder tasks may lead to other "
        "actions. Try it, and make this report again.</li>"
        "<li>Odds are counts of how runs ended that were in the same state, after as many turns and by the same agent, "
        "each shrunk toward the coarser; a state’s odds leave out the time and the agent.</li></ul>",
    )


def _section(name: str, head: str, inside: str) -> str:
    return f'<section id="{name}" aria-labelledby="h-{name}"><h2 id="h-{name}">{head}</h2>{inside}</section>'


def _swatch(classes: str, *, whole: bool = False) -> str:
    kind = "bar" if whole else "move"
    return (
        '<svg width="26" height="8" viewBox="0 0 26 8" aria-hidden="true">'
        f'<path class="{kind} {classes}" stroke-width="{"6" if whole else "3"}" d="M0 4H26"/></svg>'
    )


def _skill(one: Skill, target: Label) -> str:
    seen = (
        "not run yet"
        if one.success_rate is None or one.lower is None or one.upper is None
        else f"{percent(one.success_rate)} ({span(one.lower, one.upper)})"
    )
    forecast = one.forecast
    steps = one.duration if one.duration is not None else None if forecast is None else forecast.duration
    long = f"over {number(DURATION_MAX)}"
    name = escaped(one.name, NAME_LENGTH) or escaped(one.option_id, NAME_LENGTH)
    own = f"<bdi>{name}</bdi>, " if one.source != DISCOVERED else ""
    return row(
        f"{own}to {told_facts(target)}",
        [
            escaped(one.source, NAME_LENGTH),
            f"#{number(one.executions)}",
            f"#{about(one.evidence) if one.evidence else '0'}",
            seen,
            "#–" if forecast is None else f"#{percent(forecast.probability)}",
            "#–" if forecast is None else f"#{many(forecast.starts, 'state')}",
            "#–" if steps is None else f"#{long if steps > DURATION_MAX else about(steps)}",
        ],
    )


def _tool(one: ToolUse, names: Names) -> str:
    tool, share = one.tool, one.share
    return row(
        action_name(names.actions[tool.action]),
        [
            f"#{number(tool.taken)}",
            f"#{percent(tool.refused / tool.taken)}",
            f"#{number(share.runs)}",
            f"#{percent(share.rate)}" if share.runs else "#–",
            f"#{span(share.lower, share.upper)}" if share.runs else "#–",
        ],
    )
