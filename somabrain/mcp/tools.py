"""The tools: when to use each, when not, and what comes back, in words that a model can choose by."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from somabrain.client import ActAnswer, AsyncBrain, EpisodeAnswer, MemoryAnswer, PlanAnswer, PredictAnswer, RecallAnswer
from somabrain.client.answers import Answer
from somabrain.mcp import arguments as a

INSTRUCTIONS = """Long-term memory, and experience of what works.
Memory: call recall before you ask the user or decide from scratch; call remember when you learn something that will \
matter in a later conversation.
Experience: while you work toward a goal in several steps, call act for the next step, plan for the whole way, predict \
for the odds of success. When the run has ended, well or badly, call report_episode once with every step: that is what \
the other three learn from. Describe situations with the same few facts every time.
An answer that nothing is known is an answer: go on with your own judgement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool: the client's method that it is, and how it is told.

    `reads`: the service lets a reader do it. `replaces`: it may put something in the place of what was stored.
    `own_id`: the argument that makes a write happen once; one is made where none is given.
    """

    name: str
    title: str
    description: str
    takes: type[a.Arguments]
    answers: type[Answer]
    method: Callable[..., Awaitable[Any]]
    reads: bool
    replaces: bool = False
    own_id: str | None = None


TOOLS = (
    Tool(
        name="remember",
        title="Remember",
        description="""Store one thing that will matter in later conversations: a fact about the user or the project, \
a preference, a decision and its reason, a lesson.
Use it when you learn such a thing, once for each, in words that can be understood alone.
Don't use it for secrets, for what can be looked up again, for whole documents, or for the steps of a task: those go \
to report_episode.
Returns the memory with its memory_id. Calling it again stores it again, unless you give that memory_id: then it is \
replaced, which is how something outdated is corrected.""",
        takes=a.Remember,
        answers=MemoryAnswer,
        method=AsyncBrain.remember,
        reads=False,
        replaces=True,
        own_id="memory_id",
    ),
    Tool(
        name="recall",
        title="Recall",
        description="""Look up what was remembered, by meaning and by words.
Use it at the start of a task, and before you ask the user for something that they may have said before.
Don't use it for how to do a task step by step: act and plan know that.
Returns the nearest memories, best first. There are always some if anything was ever remembered, so judge by content \
and score whether they answer; an empty list means that nothing is stored, or nothing that passes the filter.""",
        takes=a.Recall,
        answers=RecallAnswer,
        method=AsyncBrain.recall,
        reads=True,
    ),
    Tool(
        name="predict",
        title="Predict the odds",
        description="""The odds that a run succeeds which is in this situation now, counted from how earlier runs ended.
Use it during a task of several steps, to decide whether to go on, to change the approach or to ask for help.
Don't use it for what to do next (act) or for a way to a goal (plan).
Returns success_probability with lower and upper bound; episodes, how many earlier runs that is based on, and basis, \
what they had in common with this one. With basis "prior" nobody was in this situation before: don't act on that \
number. candidates are actions tried here, with the odds after each.""",
        takes=a.Predict,
        answers=PredictAnswer,
        method=AsyncBrain.predict,
        reads=True,
    ),
    Tool(
        name="plan",
        title="Plan",
        description="""A way from a situation to a target, made of skills and actions that earlier runs were seen to \
take, with its odds.
Use it before a task of several steps, or to see whether a target can be reached at all.
Don't use it for the single next step: act is made for that. It knows only what was reported: it invents no steps.
Returns steps in order with their odds and evidence, and advice: follow; replan, call again after each step; explore, \
nothing is known. Without a way, reached is false and reason says why: unknown_start (nearest has similar known \
situations and the facts in which they differ), no_goal_state, no_options, unreachable. already_at_target needs \
nothing.""",
        takes=a.Plan,
        answers=PlanAnswer,
        method=AsyncBrain.plan,
        reads=True,
    ),
    Tool(
        name="act",
        title="What to do now",
        description="""The next action toward a target, learned from earlier runs. It does nothing itself: you carry \
the action out, and call it again with the new situation.
Use it in each step of a task that was done before. Give option_id of the last answer while you follow it.
Don't use it for the whole way (plan) or the odds alone (predict).
Returns action as it was reported, with success_probability and executions, the number of times it was tried; done is \
true where the target holds already. Where action and option_id are null nothing is known, and reason says why: go on \
with your own judgement. Where only action is null, name and policy say which skill to run.""",
        takes=a.Act,
        answers=ActAnswer,
        method=AsyncBrain.act,
        reads=True,
    ),
    Tool(
        name="report_episode",
        title="Report a run",
        description="""Report a whole run, step by step: from this predict, plan and act learn. Runs that failed teach \
as much as those that succeeded.
Use it once when a task of several steps has ended. Give success only where you know it.
Don't use it for single facts (remember), or for what you only intend to do.
Returns the episode_id and how many situations and actions were new. To repeat a report, say after an error, give the \
same episode_id with the same content: it is counted once.""",
        takes=a.ReportEpisode,
        answers=EpisodeAnswer,
        method=AsyncBrain.record_episode,
        reads=False,
        own_id="episode_id",
    ),
)
