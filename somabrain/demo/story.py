"""What the demo shows: it learns, draws the curve, explains one plan, solves every start, and says what to try next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from statistics import fmean, median
from typing import Any

from somabrain.commands.output import out, print_table, progress_bar
from somabrain.demo.agent import Agent, Solved
from somabrain.demo.calling import Caller
from somabrain.demo.curve import Point, learning_curve
from somabrain.demo.exact import optimum
from somabrain.demo.plot import draw
from somabrain.demo.server import OwnServer
from somabrain.demo.taxi import ENVIRONMENT, ROAD, Taxi

CURVE = (0, 5, 10, 15, 20, 30, 40, 50, 75, 100, 150, 200, 300, 400, 600, 800, 1200, 1600)
"""Episodes after which the plans are looked at."""
BAR_CELLS = 20
"""Characters of a bar that stands for all starts."""
PERCENT = 100

NEXT_STEPS = """\
What to try next
  make serve                    start a server that stays (or: somabrain serve)
  {docs:<28}  read what it can do, and try it, in the browser
  and {what} of your own:
  {call}"""
FIRST_OPTION = '{"name": "make tea", "target": {"features": {"tea": "ready"}}}'


class Story:
    """A demo on a server that answers. Raises `DemoError`, and `OSError` where the picture can't be written."""

    def __init__(self, server: OwnServer, *, seed: int, rainy: bool) -> None:
        """`seed`: of all that is random."""
        self._server = server
        self._seed = seed
        self._rainy = rainy
        self._taxi = Taxi(rainy=rainy)

    def tell(self, *, episodes: int, output: Path, served_at: str) -> None:
        """All of it. `served_at`: where `somabrain serve` would listen."""
        self._introduce()
        best = optimum(self._taxi)
        with self._server.client() as http:
            agent = Agent(Caller(http), self._taxi, Random(self._seed))  # noqa: S311 - a game, no secret
            agent.declare()
            points = self._learn(agent, episodes)
            draw(points, best, self._title(), output)
            show_curve(points, best, "runs")
            say(f"The same as a picture: {output}")
            say()
            self._show_plan(agent)
            self._solve(agent, points[-1], best)
        header = "-H 'Content-Type: application/json'"
        call = f"curl -s {served_at}/oak/option/create {header} -d '{FIRST_OPTION}'"
        say(NEXT_STEPS.format(docs=f"{served_at}/docs", what="declare an option", call=call))

    def _title(self) -> str:
        return f"{ENVIRONMENT}{', rainy' if self._rainy else ''}: plans from random experience"

    def _introduce(self) -> None:
        taxi = self._taxi
        world = f"Gymnasium's {ENVIRONMENT}{', where moves slip' if self._rainy else ''}"
        say("Somabrain demo: a taxi learns where its options lead, and plans with them.")
        say()
        say(f"  world    {world}: {len(taxi.starts)} starts, at most {taxi.steps_max} steps")
        say("  states   at R|G|Y|B|road, passenger, destination: one road cell is like another")
        say(f"  options  {', '.join(option.name for option in taxi.options)}:")
        say("           how to do each is given, where each leads is to be learned")
        say(f"  server   {self._server.url}, its own, with its data in a temporary folder")
        say()

    def _learn(self, agent: Agent, episodes: int) -> list[Point]:
        at = [*(number for number in CURVE if number < episodes), episodes]
        with progress_bar("random episodes", episodes) as bar:
            return learning_curve(agent, self._taxi, at, lambda: bar.advance(bar.task_ids[0]))

    def _show_plan(self, agent: Agent) -> None:
        """Explains the plan from a start: on the road and one that no episode began in, if there is such a one."""
        taxi = self._taxi
        random = Random(self._seed)  # noqa: S311 - as above
        mixed = random.sample(taxi.starts, len(taxi.starts))
        start = min(mixed, key=lambda state: (state in agent.begun, taxi.facts[state]["at"] != ROAD))
        facts, (row, column) = taxi.facts[start], taxi.cell(start)
        begun = "some" if start in agent.begun else "no"
        say(f"One plan. The taxi is at row {row}, column {column}, the passenger waits at {facts['passenger']}, bound")
        say(f"for {facts['destination']}; {begun} episode began so. The agent says only:")
        say(f"  {_text(facts)}")
        answer = agent.plan(facts)
        if answer["steps"]:
            _show_steps(answer)
        else:
            say(f"No plan: {answer['reason']}. Advice: {answer['advice']}.")
        say()

    def _solve(self, agent: Agent, last: Point, best: float) -> None:
        """Drives from every start, asking for a plan before each option."""
        taxi, random = self._taxi, Random(self._seed)  # noqa: S311 - as above
        times_ms: list[float] = []

        def choose(state: int) -> int | None:
            answer = agent.plan(taxi.facts[state])
            times_ms.append(answer["planning_ms"])
            return agent.first_option(answer)

        results: list[Solved] = []
        with progress_bar("solving every start", len(taxi.starts)) as bar:
            for start in taxi.starts:
                results.append(agent.solve(start, choose, random))
                bar.advance(bar.task_ids[0])
        returned = fmean(result.total for result in results)
        solved, new = sum(result.solved for result in results), len(set(taxi.starts) - agent.begun)
        say(f"Solved {solved} of {len(results)} starts, {new} of which no episode had begun in.")
        say(f"  {len(times_ms)} plans, a new one before each option; the median took {median(times_ms):.1f} ms")
        say(f"  mean return {returned:.2f} here, {last.expected.mean_return:.2f} expected")
        say(f"  the optimum is {best:.2f}, computed from the environment's own table")
        say()


def show_curve(points: Sequence[Point], best: float, lived: str) -> None:
    """The learning curve as a table; `lived` says what the episodes consist of."""
    rows = []
    for point in points:
        share = point.expected.solved
        behind = best - point.expected.mean_return
        bar = "█" * round(BAR_CELLS * share)
        rows.append(
            (
                str(point.episodes),
                str(point.runs),
                f"{bar:<{BAR_CELLS}} {PERCENT * share:5.1f} %",
                f"{point.expected.mean_return:8.2f}",
                f"{behind:8.2f}",
            )
        )
    print_table(
        ("episodes", lived, "starts solved", "mean return", "behind"), rows, f"Learning curve (optimum {best:.2f})"
    )


def _show_steps(answer: Mapping[str, Any]) -> None:
    rows = [
        (
            str(place),
            step["name"],
            _text(dict(step["to"]["facts"].items() - step["from"]["facts"].items())),
            f"{step['probability']:.3f}",
            f"{step['probability_lower']:.3f}",
            f"{step['expected_duration']:.1f}",
            f"{step['expected_reward']:.1f}",
            str(step["executions"]),
        )
        for place, step in enumerate(answer["steps"], 1)
    ]
    print_table(("", "option", "leads to", "odds", "≥", "steps", "reward", "runs"), rows)
    odds = ("success_probability", "success_probability_lower", "policy_probability")
    whole, least, anew = (answer[name] for name in odds)
    steps, reward = answer["expected_duration"], answer["expected_reward"]
    say(f"The whole plan succeeds with {whole:.3f} (≥ {least:.3f}), with a new plan after each option {anew:.3f}.")
    say(f"{steps:.1f} steps, discounted reward {reward:.1f}. Advice: {answer['advice']}.")


def _text(facts: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(facts.items()))


def say(line: str = "") -> None:
    """A line of text, as it is: never wrapped, so that what is to be copied stays whole."""
    out.print(line, markup=False, soft_wrap=True)
