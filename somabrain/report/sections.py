"""The sections of the page about runs: where they fail, what stopping saves, whether odds can be trusted."""

from __future__ import annotations

from somabrain.oak.learning import BINS, Calibration
from somabrain.report.held_out import LOST_MAX, LOST_UPPER_MAX, lost
from somabrain.report.model import Branch, Deaths, Findings, Fork, HeldOut
from somabrain.report.pieces import action, action_name, all_facts, left_out, row, scrolling, state_facts, table
from somabrain.report.plots import reliability_plot, stopping_plot, strip
from somabrain.report.summary import FEW_RUNS, Names, stopping_sentence
from somabrain.report.words import escaped, fine_percent, many, number, percent, span

AGENT_LENGTH = 48
"""Characters of an agent's name."""

BRANCH_HEADS = ("Action", "#Runs", "#Succeeded", "95 % interval")

BRIER = 0.25
"""Brier's score of one who always says one half."""


def dying(found: Findings, names: Names) -> str:
    """Where runs fail, and what those that succeeded did there instead."""
    deaths = found.deaths
    if not found.overall.runs:
        return _section(
            "dies", "Where runs fail", "<p>No run has a known outcome, so none is known to have failed.</p>"
        )
    if not deaths.failures:
        return _section("dies", "Where runs fail", f"<p>None of {many(found.overall.runs, 'run')} failed.</p>")
    if deaths.forks:
        intro = (
            "<p>States where an action did worse than another beyond what chance explains, the greatest loss first. "
            "<em>Lost</em> is how many of the failed runs would have succeeded, at least, had they done as well as the "
            "other action’s lower bound. A run that passed through several of these places counts in each, so the "
            "losses do not add up.</p>"
        )
    else:
        intro = "<p>There is no state where one action did better than another beyond what chance explains.</p>"
    forks = "".join(_fork(place + 1, one, names) for place, one in enumerate(deaths.forks))
    more = left_out(deaths.forks_left_out, "such places are")
    return _section(
        "dies", "Where runs fail", intro + forks + more + _falls(deaths, names) + _last_turns(deaths, names)
    )


def stopping(found: Findings) -> str:
    """Turns that a threshold would have saved."""
    held = found.held_out
    whole = held.whole
    if not whole.successes or whole.successes == whole.episodes:
        text = "<p>To say what stopping early saves there have to be runs that succeeded and runs that did not.</p>"
        return _section("stops", "What stopping early would save", text)
    intro = (
        "<p>Before each turn a run’s odds were worked out from the other runs, as <code>/oak/predict</code> does, "
        "and it "
        f"was stopped the first time they were below the threshold. {_apart(held)}</p>"
    )
    rows = [
        row(
            percent(one.threshold) + (" (recommended)" if place == held.best else ""),
            [
                f"#{number(one.stopped)}",
                f"#{number(lost(whole, one))}",
                f"#{fine_percent(one.steps_saved)}",
                f"#{fine_percent(one.successes_lost)}",
            ],
            classes="best" if place == held.best else "",
        )
        for place, one in enumerate(whole.stopping)
    ]
    caption = (
        f"Of {many(whole.episodes, 'run')}, {number(whole.successes)} of which succeeded: what each threshold would "
        "have "
        "stopped, saved and lost."
    )
    heads = ("Stop below", "#Runs stopped", "#that would have succeeded", "#Turns saved", "#Successes lost")
    rule = (
        f"loses at most {percent(LOST_MAX)} of the successes (with 95 % confidence not over {percent(LOST_UPPER_MAX)}) "
        "and saves at least twice the share that it loses"
    )
    advice = (
        f"<p>{stopping_sentence(held)}</p><p>Recommended is the threshold that saves most turns, of those that {rule}. "
        "What a lost success costs you against a saved turn is yours to weigh.</p>"
        if held.best is not None
        else f"<p>None is recommended: there is no threshold that saves turns, {rule}.</p>"
    )
    plot = scrolling(stopping_plot(whole.stopping, held.best), "chart")
    return _section(
        "stops",
        "What stopping early would save",
        f'{intro}<div class="box pair chart"><figure>{plot}</figure><div>{advice}</div></div>'
        f'<div class="box">{table(caption, heads, rows, wide=True)}</div>{_agents(held)}',
    )


def trusting(found: Findings) -> str:
    """Calibration, of the odds from other runs and of those that the service told."""
    held, live = found.held_out, found.live
    if held.whole.brier is None:
        text = "<p>No outcome is known, so there are no odds to judge.</p>"
        return _section("trust", "Can the odds be trusted?", text)
    intro = (
        f"<p>{_apart(held)} Brier’s score is the mean squared distance of the odds from what came of the run: 0 is "
        f"perfect, {BRIER} what always saying ½ gets. The calibration error is how far, in the mean, the odds told are "
        "from the share that came true.</p>"
    )
    few = (
        f'<p class="warn">Only {many(held.whole.episodes, "run")} with a known outcome: too few to judge by.</p>'
        if held.whole.episodes < FEW_RUNS
        else ""
    )
    parts = [intro, few, _calibration(held.whole, "Odds worked out from other runs", held.brier_base)]
    if live.brier is not None:
        parts.append("<h3>Odds that agents asked for while they ran</h3>")
        parts.append(_calibration(live, "Odds that the service told, scored when the outcome came", None))
    else:
        parts.append(
            '<p class="note">No agent has asked for odds of a run whose outcome came later '
            "(<code>/oak/predict</code> with an <code>episode_id</code>), so there are no live ones to judge.</p>"
        )
    return _section("trust", "Can the odds be trusted?", "".join(parts))


def _section(name: str, head: str, inside: str) -> str:
    return f'<section id="{name}" aria-labelledby="h-{name}"><h2 id="h-{name}">{head}</h2>{inside}</section>'


def _apart(held: HeldOut) -> str:
    """Which runs the odds of a run rest on."""
    return (
        "No run is judged by odds that it, or another run of its group, had a part in: as for a task never seen before."
        if held.by_group
        else "No run is judged by odds that it had a part in itself."
    )


def _fork(place: int, fork: Fork, names: Names) -> str:
    taken, instead = fork.taken.share, fork.instead.share
    label = names.states[fork.state]
    rows = [_branch(fork.instead, "good", names), _branch(fork.taken, "bad", names)]
    rows += [_branch(one, "ink", names) for one in fork.others]
    caption = f"What runs did in state {fork.state}, and how many of them succeeded"
    return (
        f'<article class="box fork"><div><h3>{place}. {state_facts(label)}</h3>'
        f'<span class="loss"><b>≈ {number(fork.lost)}</b> lost</span></div><div><div>'
        f"<p>{many(taken.runs, 'run')} did {action(names.actions[fork.taken.action])} here and "
        f"{percent(taken.rate)} succeeded. Of the {number(instead.runs)} that did "
        f"{action(names.actions[fork.instead.action])}, {percent(instead.rate)} succeeded.</p>"
        f"{all_facts(label)}</div>"
        f"<div>{table(caption, BRANCH_HEADS, rows, classes='branches', hidden=True)}</div></div></article>"
    )


def _branch(one: Branch, tone: str, names: Names) -> str:
    share = one.share
    return (
        f'<tr><td class="act">{action_name(names.actions[one.action])}</td>'
        f'<td class="n">{number(share.runs)}</td><td class="n">{percent(share.rate)}</td>'
        f'<td class="strip"><span>{strip(share, tone)}<span class="id">{span(share.lower, share.upper)}</span></span>'
        "</td></tr>"
    )


def _falls(deaths: Deaths, names: Names) -> str:
    if not deaths.falls:
        return ""
    rows = [
        row(
            state_facts(names.states[one.state]),
            [
                action(names.actions[one.action]),
                state_facts(names.states[one.outcome]),
                f"#{percent(one.before)} → {percent(one.after)}",
                f"#{number(one.failures)} of {number(one.runs)}",
            ],
        )
        for one in deaths.falls
    ]
    caption = (
        "The turns after which the odds fell most, by failed runs × fall. Where the action is right, what led to it "
        "may "
        "not be."
    )
    return (
        "<h3>Turns after which the odds fell</h3>"
        f'<div class="box">{table(caption, ("In", "Action", "Led to", "#Odds", "#Failed"), rows, wide=True)}</div>'
    )


def _last_turns(deaths: Deaths, names: Names) -> str:
    rows = [
        row(
            state_facts(names.states[one.state]),
            [action(names.actions[one.action]), f"#{number(one.failures)}", f"#{number(one.cut_off)}"],
        )
        for one in deaths.last_turns
    ]
    repeats = ""
    if deaths.failed_repeats is not None:
        good = "" if deaths.succeeded_repeats is None else f", against {percent(deaths.succeeded_repeats)} in successes"
        repeats = (
            f"<p>{percent(deaths.failed_repeats)} of the turns of failed runs did again what the run had done before "
            "in "
            f"the same state{good}.</p>"
        )
    caption = (
        f"The most frequent last turns of the {many(deaths.failures, 'failed run')}; {number(deaths.cut_off)} of these "
        "were cut off, by a budget or a log that ends."
    )
    return (
        f'<h3>Where failed runs ended</h3>{repeats}<div class="box">'
        f"{table(caption, ('Last state', 'Last action', '#Failed runs', '#Cut off'), rows, wide=True)}</div>"
    )


def _agents(held: HeldOut) -> str:
    if held.best is None or not held.agents:
        return ""
    threshold = held.whole.stopping[held.best].threshold
    rows = [
        row(
            f"<bdi>{escaped(one.agent or '', AGENT_LENGTH)}</bdi>",
            [
                f"#{number(one.episodes)}",
                f"#{percent(one.successes / one.episodes)}",
                f"#{fine_percent(one.stopping[held.best].steps_saved)}",
                f"#{fine_percent(one.stopping[held.best].successes_lost)}",
                f"#{one.brier:.3f}",
            ],
        )
        for one in held.agents
    ]
    caption = f"By agent, the most runs first, for runs stopped below {percent(threshold)}."
    heads = ("Agent", "#Runs", "#Succeeded", "#Turns saved", "#Successes lost", "#Brier")
    return (
        f'<h3>By agent</h3><div class="box">{table(caption, heads, rows, wide=True)}'
        f"{left_out(held.agents_left_out, 'agents are')}</div>"
    )


def _calibration(found: Calibration, caption: str, base: float | None) -> str:
    rows = [
        row(
            f'<span class="keep">{span(one.low, one.low + 1 / BINS)}</span>',
            [f"#{number(one.predictions)}", f"#{fine_percent(one.predicted)}", f"#{fine_percent(one.observed)}"],
        )
        for one in found.reliability
    ]
    beside = "" if base is None else f", against {base:.3f} of the plain share of successes"
    said = (
        f"<p><b>Brier {found.brier:.3f}</b>{beside}; <b>calibration error {found.calibration_error:.3f}</b>; "
        f"{many(found.predictions, 'prediction')} of {many(found.episodes, 'run')}.</p>"
    )
    heads = ("Odds", "#Predictions", "#Told, mean", "#Came true")
    note = (
        "<figcaption>A dot for each tenth of the odds, larger where more was told. On the diagonal what was told came "
        "true. Lines are 95 % intervals as if predictions of one run were independent; they are somewhat too narrow."
        "</figcaption>"
    )
    return (
        f'<div class="box">{said}<div class="pair"><figure>{reliability_plot(found)}{note}</figure>'
        f"<div>{table(caption, heads, rows)}</div></div></div>"
    )
