"""The service, as methods."""

from __future__ import annotations

import atexit
import logging
import threading
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from somabrain.client import answers as a
from somabrain.client.deadline import Deadline
from somabrain.client.disk_queue import DiskQueue, queue_in
from somabrain.client.places import DATA_FOLDER, LOCAL_URL, queue_folder, started
from somabrain.client.recorder import Episode, Run, new_episode_id
from somabrain.client.sender import Sender
from somabrain.client.telling import State, Step, checked_id, facts_of, given, json_of, roles_of, state_of, step_body
from somabrain.client.transport import Request, Transport

TIMEOUT_S = 10.0
WAIT_S = 60.0
"""How long options are waited for, and how much longer than others an answer to many episodes may take."""
DEADLINE_S = 0.05
CLOSE_TIMEOUT_S = 2.0
"""How long `close` tries to send what waits; what is left waits for the next process."""

Roles = Mapping[str, str | int | float]

log = logging.getLogger("somabrain.client")


class Brain:
    """One namespace of a service, seen by one caller. Thread-safe; close it, or use it as a context manager.

    Every method that asks raises `BrainError`: `UnavailableError`, `GarbledError`, or `RefusedError` with the
    service's `code`. `episode` and `outcome` never raise for want of an answer: what they tell waits on disk.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        namespace: str = "default",
        key: str | None = None,
        data: Path | str | None = None,
        queue: Path | str | None = None,
        timeout_s: float = TIMEOUT_S,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        """`url`: of the service; None starts it in this process, with its data in `data`, by default
        `./somabrain-data`, and no server. `key`: a bearer token.

        `queue`: the folder of what is still to be sent, by default one for this address and key below
        `$XDG_STATE_HOME/somabrain`, in this process one below `data`. `timeout_s` bounds each question, `deadline_s`
        the odds and advice of episodes.

        Raises `MissingError` where `url` is None and the service is not installed, `ValueError` for an address or
        settings that can't be.
        """  # noqa: D205  what the arguments are is all there is to say
        self.namespace = namespace
        self._timeout_s = timeout_s
        self._deadline = Deadline(deadline_s)
        folder = DATA_FOLDER if data is None else Path(data)
        self._transport = Transport(LOCAL_URL, key, started(folder)) if url is None else Transport(url, key)
        if queue is not None:
            self._folder = Path(queue)
        else:
            self._folder = folder / "client-queue" if url is None else queue_folder(url, key)
        self._opening = threading.Lock()
        self._outgoing: tuple[DiskQueue, Sender] | None = None
        if self._folder.is_dir():
            self._opened()
        atexit.register(self.close)

    def remember(
        self,
        content: str,
        *,
        vector: Sequence[float] | None = None,
        metadata: Mapping[str, Any] | None = None,
        importance: float | None = None,
        ttl_s: int | None = None,
        memory_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> a.MemoryAnswer:
        """Stores a text; `importance` in 0 to 1, `ttl_s` seconds until it is forgotten."""
        body = {
            "content": content,
            "vector": None if vector is None else list(vector),
            "metadata": metadata,
            "importance": importance,
            "ttl_s": ttl_s,
            "memory_id": memory_id,
        }
        return self._write(a.MemoryAnswer, "/memory/remember", body, idempotency_key)

    def recall(
        self,
        query: State,
        *,
        top_k: int | None = None,
        filter: Mapping[str, str | bool | float] | None = None,  # noqa: A002  the field's name
        min_score: float | None = None,
    ) -> a.RecallAnswer:
        """The memories nearest to a text or vector, the best first; `filter` compares metadata."""
        body = {"query": state_of(query), "top_k": top_k, "filter": filter, "min_score": min_score}
        return self._ask(a.RecallAnswer, "/memory/recall", body)

    def memory(self, memory_id: str) -> a.MemoryAnswer:
        """A memory by its id. Raises `NotFoundError`."""
        return self._get(a.MemoryAnswer, f"/memory/{checked_id(memory_id)}", {})

    def forget(self, memory_id: str, *, idempotency_key: str | None = None) -> None:
        """Deletes a memory. Raises `NotFoundError`."""
        key = str(uuid.uuid4()) if idempotency_key is None else idempotency_key
        query = {"namespace": self.namespace}
        request = Request(method="DELETE", path=f"/memory/{checked_id(memory_id)}", query=query, key=key)
        self._transport.ask(request, timeout_s=self._timeout_s)

    def create_option(
        self,
        name: str,
        target: State,
        *,
        option_id: str | None = None,
        description: str | None = None,
        policy: Mapping[str, Any] | None = None,
        termination: Mapping[str, float | int] | None = None,
        kappa: float | None = None,
        gamma: float | None = None,
        alpha: float | None = None,
        roles: Roles | None = None,
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> a.OptionAnswer:
        """Declares a skill: what it is for is `target`; `termination` has `similarity` and `max_steps`."""
        body = {
            "name": name,
            "target": state_of(target),
            "option_id": option_id,
            "description": description,
            "policy": policy,
            "termination": termination,
            "kappa": kappa,
            "gamma": gamma,
            "alpha": alpha,
            "roles": roles,
            "metadata": metadata,
        }
        return self._write(a.OptionAnswer, "/oak/option/create", body, idempotency_key)

    def options(
        self,
        *,
        status: Literal["active", "retired"] | None = None,
        source: Literal["declared", "discovered", "primitive"] | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> a.OptionList:
        """A page of options by id; `cursor` is the page before's `next_cursor`."""
        return self._get(
            a.OptionList, "/oak/options", {"status": status, "source": source, "limit": limit, "cursor": cursor}
        )

    def plan(
        self,
        start_state: State,
        target_feature: State,
        *,
        similarity_thresh: float | None = None,
        max_options: int | None = None,
        alternatives: int | None = None,
        mode: Literal["safe", "explore"] | None = None,
        roles: Roles | None = None,
    ) -> a.PlanAnswer:
        """The options from a state to a target with their odds, or the reason why there are none."""
        body = {
            "start_state": state_of(start_state),
            "target_feature": state_of(target_feature),
            "similarity_thresh": similarity_thresh,
            "max_options": max_options,
            "alternatives": alternatives,
            "mode": mode,
            "roles": roles,
        }
        return self._ask(a.PlanAnswer, "/oak/plan", body)

    def act(
        self,
        state: State,
        target_feature: State,
        *,
        option_id: str | None = None,
        similarity_thresh: float | None = None,
        top_k: int | None = None,
        mode: Literal["safe", "explore"] | None = None,
        roles: Roles | None = None,
    ) -> a.ActAnswer:
        """What to do now to get to a target; `option_id` is the option that is being run."""
        body = {
            "state": state_of(state),
            "target_feature": state_of(target_feature),
            "option_id": option_id,
            "similarity_thresh": similarity_thresh,
            "top_k": top_k,
            "mode": mode,
            "roles": roles,
        }
        return self._ask(a.ActAnswer, "/oak/act", body)

    def predict(
        self,
        state: State,
        *,
        target_feature: State | None = None,
        agent: str | None = None,
        steps_taken: int | None = None,
        steps_left: int | None = None,
        episode_id: str | None = None,
        roles: Roles | None = None,
    ) -> a.PredictAnswer:
        """The odds that a run succeeds which is in this state now; kept and scored where it has an `episode_id`."""
        body = {
            "state": state_of(state),
            "target_feature": None if target_feature is None else state_of(target_feature),
            "agent": agent,
            "steps_taken": steps_taken,
            "steps_left": steps_left,
            "episode_id": episode_id,
            "roles": roles,
        }
        return self._ask(a.PredictAnswer, "/oak/predict", body)

    def calibration(self, *, agent: str | None = None) -> a.CalibrationAnswer:
        """How the odds did that were told of episodes whose outcome came."""
        return self._get(a.CalibrationAnswer, "/oak/calibration", {"agent": agent})

    def record_episode(
        self,
        steps: Sequence[Step],
        final: State,
        *,
        episode_id: str | None = None,
        terminated: bool | None = None,
        success: bool | None = None,
        group: str | None = None,
        agent: str | None = None,
        roles: Roles | None = None,
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> a.EpisodeAnswer:
        """Reports a whole trajectory at once, now; `episode` records one while it runs."""
        body = {
            "steps": [step_body(step) for step in steps],
            "final": state_of(final),
            "episode_id": episode_id,
            "terminated": terminated,
            "success": success,
            "group": group,
            "agent": agent,
            "roles": roles,
            "metadata": metadata,
        }
        return self._write(a.EpisodeAnswer, "/oak/episode", body, idempotency_key)

    def learn(
        self,
        traces: Sequence[Any],
        *,
        format: str | None = None,  # noqa: A002  the field's name
        arguments: bool | None = None,
        idempotency_key: str | None = None,
    ) -> a.TraceAnswers:
        """Learns from up to 100 logs as they are, JSON each; one that can't be converted is refused by itself.

        `format` is found out for each where it is left out; `arguments`: an action is a tool with its arguments. The
        answer may take `WAIT_S` longer than others.
        """
        body = {"namespace": self.namespace, "traces": list(traces), "format": format, "arguments": arguments}
        key = str(uuid.uuid4()) if idempotency_key is None else idempotency_key
        request = Request(method="POST", path="/oak/traces", body=given(body), key=key)
        return self._asked(a.TraceAnswers, request, self._timeout_s + WAIT_S)

    def consolidate(
        self, *, wait: bool = False, timeout_s: float = WAIT_S, idempotency_key: str | None = None
    ) -> a.ConsolidationAnswer:
        """Has options worked out of the episodes that arrived; `wait`: until they are, at most `timeout_s`."""
        key = str(uuid.uuid4()) if idempotency_key is None else idempotency_key
        body = {"namespace": self.namespace, "wait": wait, "timeout_s": timeout_s}
        request = Request(method="POST", path="/oak/consolidate", body=body, key=key)
        return self._asked(a.ConsolidationAnswer, request, self._timeout_s + (timeout_s if wait else 0.0))

    def reported_episode(self, episode_id: str) -> a.EpisodeReported:
        """An episode as it was reported. Raises `NotFoundError`."""
        return self._get(a.EpisodeReported, f"/oak/episode/{checked_id(episode_id)}", {})

    def episode(
        self,
        *,
        goal: Mapping[str, Any] | None = None,
        roles: Mapping[str, Any] | None = None,
        agent: str | None = None,
        budget: int | None = None,
        episode_id: str | None = None,
        group: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Episode:
        """Records a run while it lasts: a context manager, posted when its block ends.

        `goal`: the facts of success, told as `goal.<name>` in every state and as the target of odds; `roles`: what the
        run is about; `budget`: most turns; `group`: runs that belong together. Raises `ValueError` for an
        `episode_id` that can't be one.
        """
        run = Run(
            id=new_episode_id() if episode_id is None else checked_id(episode_id),
            goal=facts_of(goal or {}),
            roles=roles_of(roles or {}),
            agent=None if agent is None else str(agent),
            group=None if group is None else str(group),
            budget=budget,
            metadata=json_of(metadata or {}),
        )
        self._opened()
        return Episode(
            run,
            predict=self._predicted,
            deadline=self._deadline,
            post=self._post_episode,
            tell_outcome=lambda success: self.outcome(run.id, success=success),
        )

    def outcome(self, episode_id: str, *, success: bool | None = None, reward: float | None = None) -> None:
        """Tells what became of an episode, days later too: kept on disk until it is sent.

        Raises `ValueError` where it says nothing, or of an id that can't be one.
        """
        if success is None and reward is None:
            raise ValueError("an outcome has success, reward or both")
        body = {"success": success, "reward": reward, "namespace": self.namespace}
        self._keep(f"/oak/episode/{checked_id(episode_id)}/outcome", given(body))

    def flush(self, timeout_s: float = TIMEOUT_S) -> bool:
        """Waits until everything recorded was sent, at most `timeout_s`; whether it was."""
        return self._outgoing is None or self._outgoing[1].flush(timeout_s)

    def close(self) -> None:
        """Sends what waits, for at most `CLOSE_TIMEOUT_S`, and lets go of everything. What is left stays on disk."""
        atexit.unregister(self.close)
        if self._outgoing is not None:
            sent = self._outgoing[1].flush(CLOSE_TIMEOUT_S)
            self._outgoing[1].close(CLOSE_TIMEOUT_S if sent else 0.0)
        self._transport.close()

    def __enter__(self) -> Self:
        """The brain."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes it."""
        self.close()

    def _ask(self, kind: type[a.AnswerT], path: str, body: Mapping[str, Any], key: str | None = None) -> a.AnswerT:
        told = given({**body, "namespace": self.namespace})
        return self._asked(kind, Request(method="POST", path=path, body=told, key=key), self._timeout_s)

    def _write(self, kind: type[a.AnswerT], path: str, body: Mapping[str, Any], key: str | None) -> a.AnswerT:
        return self._ask(kind, path, body, str(uuid.uuid4()) if key is None else key)

    def _get(self, kind: type[a.AnswerT], path: str, query: Mapping[str, str | int | None]) -> a.AnswerT:
        told = given({**query, "namespace": self.namespace})
        return self._asked(kind, Request(method="GET", path=path, query=told), self._timeout_s)

    def _asked(self, kind: type[a.AnswerT], request: Request, timeout_s: float) -> a.AnswerT:
        return a.understood(kind, self._transport.ask(request, timeout_s=timeout_s))

    def _predicted(self, asked: Mapping[str, Any]) -> a.PredictAnswer:
        body = {**asked, "namespace": self.namespace}
        request = Request(method="POST", path="/oak/predict", body=body)
        return self._asked(a.PredictAnswer, request, self._deadline.deadline_s)

    def _post_episode(self, body: Mapping[str, Any]) -> None:
        self._keep("/oak/episodes", {"namespace": self.namespace, "episodes": [body]})

    def _keep(self, path: str, body: Mapping[str, Any]) -> None:
        opened = self._opened()
        if opened is None:
            log.warning("lost, for want of a folder to keep it in: a POST to %s", path)
        elif opened[0].add(path, body):
            opened[1].wake()

    def _opened(self) -> tuple[DiskQueue, Sender] | None:
        """The queue and who sends it; None where no folder can be written."""
        with self._opening:
            if self._outgoing is None:
                queue = queue_in(self._folder)
                self._outgoing = None if queue is None else (queue, Sender(queue, self._transport))
            return self._outgoing
