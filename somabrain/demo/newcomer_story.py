"""What the demo shows: skills learned from raw actions, with no option declared by anybody."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

from somabrain.commands.output import print_table, progress_bar
from somabrain.demo.calling import Caller
from somabrain.demo.curve import Point
from somabrain.demo.exact import expected_of_policy, optimum
from somabrain.demo.map import Place, draw_map
from somabrain.demo.newcomer import Newcomer, Turn
from somabrain.demo.plot import draw
from somabrain.demo.server import OwnServer
from somabrain.demo.story import NEXT_STEPS, say, show_curve
from somabrain.demo.taxi import ACTIONS, DELIVERED, ENVIRONMENT, PLACES, Taxi

CURVE = (10, 25, 50, 100, 200, 400, 800, 1600)
"""Episodes after which options are worked out and looked at."""

OPTIONS_SHOWN = 12
FIRST_EPISODE = (
    '{"steps": [{"state": {"features": {"door": "shut"}}, "action": "push", "reward": -1}], '
    '"final": {"features": {"door": "open"}}, "success": true}'
)


class NewcomerStory:
    """A demo on a server that answers. Raises `DemoError`, and `OSError` where a picture can't be written."""

    def __init__(self, server: OwnServer, *, seed: int, rainy: bool) -> None:
        """`seed`: of all that is random."""
        self._server = server
        self._seed = seed
        self._rainy = rainy
        self._taxi = Taxi(rainy=rainy)

    def tell(self, *, episodes: int, output: Path, served_at: str) -> None:
        """All of it; the map's file is named after the curve's. `served_at`: where `somabrain serve` would listen."""
        self._introduce()
        best = optimum(self._taxi)
        with self._server.client() as http:
            agent = Newcomer(Caller(http), self._taxi, Random(self._seed))  # noqa: S311 - a game, no secret
            points = self._learn(agent, episodes)
            draw(points, best, f"{self._world()}: skills from random actions", output)
            show_curve(points, best, "actions")
            say(f"The same as a picture: {output}")
            say()
            discovered = {option["option_id"]: option for option in agent.discovered()}
            taken = self._show_options(agent, discovered)
            picture = output.with_name(f"{output.stem}-map{output.suffix}")
            self._show_map(agent, points[-1].choices, taken, picture)
            self._show_ride(agent)
            self._compare(points[-1], best, agent)
        call = f"curl -s {served_at}/oak/episode -H 'Content-Type: application/json' -d '{FIRST_EPISODE}'"
        say(NEXT_STEPS.format(docs=f"{served_at}/docs", what="report an episode", call=call))

    def _world(self) -> str:
        return f"{ENVIRONMENT}{', rainy' if self._rainy else ''}"

    def _introduce(self) -> None:
        taxi = self._taxi
        say("Somabrain demo: a taxi that only ever drove at random has its skills worked out for it.")
        say()
        say(f"  world    Gymnasium's {self._world()}: {len(taxi.starts)} starts, at most {taxi.steps_max} steps")
        say("  states   row, column, passenger, destination")
        say(f"  actions  {', '.join(ACTIONS)}; no option is declared by anybody")
        say(f"  server   {self._server.url}, its own, with its data in a temporary folder")
        say()

    def _learn(self, agent: Newcomer, episodes: int) -> list[Point]:
        points, steps, lived = [], 0, 0
        with progress_bar("random episodes", episodes) as bar:
            for goal in [*(number for number in CURVE if number < episodes), episodes]:
                while lived < goal:
                    steps += agent.live()
                    lived += 1
                    bar.advance(bar.task_ids[0])
                agent.consolidate()
                actions = agent.policy()
                known = expected_of_policy(self._taxi, actions)
                points.append(Point(episodes=lived, runs=steps, expected=known, choices=actions))
        return points

    def _show_options(self, agent: Newcomer, discovered: Mapping[str, Mapping[str, Any]]) -> set[str]:
        """The options that the plans from all starts take, most used first; returns what those lead to."""
        taken: Counter[str] = Counter()
        lengths = []
        for start in self._taxi.starts:
            answer = agent.plan(start)
            taken.update(set(answer["options"]))
            lengths += [len(answer["options"])] if answer["reached"] else []
        leads = {option_id: _facts(option["target"]["features"]) for option_id, option in discovered.items()}
        rows = [(leads[option_id], str(times)) for option_id, times in taken.most_common() if option_id in leads]
        say(f"{len(discovered)} options were discovered. Of {len(self._taxi.starts)} plans, one from each start, take")
        print_table(("the option that leads to", "plans"), rows[:OPTIONS_SHOWN])
        if lengths:
            say(f"A plan has {fmean(lengths):.1f} options in the mean.")
        say()
        return {leads[option_id] for option_id in taken if option_id in leads}

    def _show_map(self, agent: Newcomer, actions: Sequence[int | None], taken: set[str], picture: Path) -> None:
        taxi, destination = self._taxi, PLACES[self._seed % len(PLACES)]
        places = []
        for state in range(taxi.states):
            facts = taxi.fine(state)
            if facts["destination"] != destination or facts["passenger"] == DELIVERED:
                continue
            answer, action = agent.act(state), actions[state]
            places.append(
                Place(
                    passenger=str(facts["passenger"]),
                    row=int(facts["row"]),
                    column=int(facts["column"]),
                    action=None if action is None else ACTIONS[action],
                    steps=answer["expected_duration"] if answer["action"] is not None else None,
                    target=_facts(facts) in taken,
                )
            )
        draw_map(places, f"{self._world()}: what it learned to do, bound for {destination}", picture)
        say(f"The map of what it learned, bound for {destination}: {picture}")
        say()

    def _show_ride(self, agent: Newcomer) -> None:
        """A solved ride, step by step: the longest plan among those from a few starts that no episode began in."""
        taxi = self._taxi
        new = [start for start in taxi.starts if start not in agent.begun] or list(taxi.starts)
        some = Random(self._seed).sample(new, min(len(new), OPTIONS_SHOWN))  # noqa: S311 - a game
        start = max(some, key=lambda state: agent.plan(state)["expected_duration"])
        begun = "an" if start in agent.begun else "no"
        facts = taxi.fine(start)
        say(f"One ride: {_facts(facts)}; {begun} episode began so.")
        turns, last = agent.ride(start)
        print_table(("", "taxi at", "passenger", "does", "reward", "odds", "because of"), _ride_rows(taxi, turns))
        delivered = taxi.facts[last]["passenger"] == DELIVERED
        total = sum(turn.reward for turn in turns)
        say(f"{'Delivered' if delivered else 'Not delivered'} after {len(turns)} steps, return {total:.0f}.")
        say()

    def _compare(self, last: Point, best: float, agent: Newcomer) -> None:
        new = len(set(self._taxi.starts) - agent.begun)
        starts = len(self._taxi.starts)
        say(f"{last.expected.solved:.1%} of {starts} starts solved, {new} of which no episode began in.")
        say(f"  mean return {last.expected.mean_return:.2f}, computed from the environment's own table")
        say(f"  the optimum is {best:.2f}, computed from the same")
        say()


def _ride_rows(taxi: Taxi, turns: Sequence[Turn]) -> list[tuple[str, ...]]:
    """A row for each step; why it was taken is told where that changes."""
    rows: list[tuple[str, ...]] = []
    before = ""
    for number, turn in enumerate(turns, 1):
        row, column = taxi.cell(turn.state)
        why = {"primitive": "the action itself", "goal": "the way to the goal, worked out now"}.get(
            turn.source, f"option: {turn.name}"
        )
        done = (str(number), f"{row},{column}", taxi.facts[turn.state]["passenger"], turn.action)
        rows.append((*done, f"{turn.reward:.0f}", f"{turn.probability:.3f}", "" if why == before else why))
        before = why
    return rows


def _facts(facts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(facts.items()))
