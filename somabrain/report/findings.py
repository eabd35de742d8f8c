"""From what a namespace knows to what its owner wants to know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from somabrain.oak.learning import Tallies
from somabrain.oak.model import Odds
from somabrain.oak.planner import Question, odds
from somabrain.report.chart import chart
from somabrain.report.deaths import deaths
from somabrain.report.held_out import held_out
from somabrain.report.model import Findings, Share, ToolUse
from somabrain.report.runs import Known, Run, Skill, Tool
from somabrain.report.shares import Z, share

SKILLS_MAX = 12
"""Skills that are told."""

TOOLS_MAX = 15
"""Actions that are told, those taken most."""


def findings(known: Known, progress: Callable[[int], None] = lambda _: None) -> Findings:
    """All findings; tells `progress` how many runs were scored in each step."""
    told = [one for one in known.runs if one.success is not None]
    tallies = Tallies()
    for run in told:
        tallies.add(run.lived)
    states = sorted({state for run in known.runs for state in run.places})
    there = {state: odds_in(state, tallies) for state in states}
    overall = share(sum(bool(one.success) for one in told), len(told))
    skills = ranked(known.skills, there, overall.rate)
    tools = tool_uses(told, known.tools)
    return Findings(
        namespace=known.namespace,
        model_version=known.model_version,
        goal=known.goal,
        runs=len(known.runs),
        unknown=len(known.runs) - len(told),
        turns=sum(len(one.decisions) for one in known.runs),
        overall=overall,
        chart=chart(known.runs, there, overall.rate, known.prototypes),
        deaths=deaths(told, there),
        held_out=held_out(told, tallies, progress),
        live=known.live,
        skills=tuple(skills[:SKILLS_MAX]),
        skills_left_out=len(skills[SKILLS_MAX:]),
        tools=tuple(tools[:TOOLS_MAX]),
        tools_left_out=len(tools[TOOLS_MAX:]),
    )


def odds_in(state: int, tallies: Tallies) -> Odds:
    """The odds of any agent's run in a state, whenever it comes there (ADR 0012), with bounds at 95 %."""
    question = Question(state=state, agent=None, steps_taken=None, steps_left=None)
    return odds(question, tallies.about(state=state, steps=None, agent=None), Z)


def ranked(skills: Iterable[Skill], there: Mapping[int, Odds], overall: float) -> list[Skill]:
    """Skills with the most executions first, then those of use most often: visits × odds to arrive × odds there."""

    def use(one: Skill) -> float:
        if one.forecast is None:
            return 0.0
        arrived = there[one.forecast.target].success_probability if one.forecast.target in there else overall
        return one.forecast.visits * one.forecast.probability * arrived

    return sorted(skills, key=lambda one: (-one.executions, -use(one), one.option_id))


def tool_uses(told: Iterable[Run], tools: Sequence[Tool]) -> list[ToolUse]:
    """Actions, those taken most first, with how runs of known outcome did that took them at least once."""
    runs, successes = Counter[int](), Counter[int]()
    for run in told:
        taken = set(run.actions)
        runs.update(taken)
        successes.update(taken if run.success else ())
    found = [ToolUse(tool=tool, share=_share(tool.action, successes, runs)) for tool in tools]
    return sorted(found, key=lambda one: (-one.tool.taken, one.tool.action))


def _share(action: int, successes: Mapping[int, int], runs: Mapping[int, int]) -> Share:
    return share(successes[action], runs[action])
