"""Every metric, declared once (DESIGN §11). One registry for each application, none shared."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that names the folder in which processes count together; the library reads it when it is imported."""

BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of every latency histogram: .5 ms to 10 s."""


class Together(Collector):
    """What the processes of a server have counted in a folder, added up; gauges are those of living ones."""

    def __init__(self, folder: Path, before: Callable[[], None] = lambda: None) -> None:
        """`before` is called each time before it is read."""
        self._folder = folder
        self._before = before

    def collect(self) -> Iterable[Metric]:
        """As `Collector`."""
        self._before()
        for file in self._folder.glob("gauge_live*.db"):
            process = int(file.stem.rpartition("_")[2])
            if not _lives(process):
                mark_process_dead(process, str(self._folder))  # type: ignore[no-untyped-call]
        found: Iterable[Metric] = MultiProcessCollector(None, str(self._folder)).collect()  # type: ignore[no-untyped-call]
        return found


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


class Metrics:
    """The process's metrics, or where `FOLDER` is set those of all that share it."""

    def __init__(self) -> None:
        """All at zero, in a registry of their own."""
        self._counted = CollectorRegistry()
        self._kept: Callable[[], float] = lambda: 0.0
        self.registry = CollectorRegistry()
        folder = os.environ.get(FOLDER)
        self.registry.register(self._counted if folder is None else Together(Path(folder), self._tell))
        self.options_created = self._counter("option_created", "Options declared.")
        self.options_updated = self._counter("option_updated", "Options replaced.")
        self.plans = self._counter("oak_plans", "Plans asked for.", "result", "reason")
        self.predictions = self._counter("oak_predictions", "Odds asked for.", "basis")
        self.acts = self._counter("oak_acts", "Actions asked for.", "result")
        self.episodes = self._counter("oak_episodes", "Episodes reported.", "outcome")
        self.consolidation_latency = self._latency("oak_consolidation_seconds", "Time to work out options.")
        self.planner_latency = self._latency("oak_planner_latency_seconds", "Time to plan.", "result")
        self.predict_latency = self._latency("oak_predict_latency_seconds", "Time to tell the odds of a run.")
        self.learning_latency = self._latency("oak_learning_latency_seconds", "Time to learn from a request's runs.")
        self.remember_latency = self._latency("memory_remember_latency_seconds", "Time to store a request's memories.")
        self.recall_latency = self._latency("memory_recall_latency_seconds", "Time to recall.")
        self.milvus_latency = self._latency(
            "milvus_request_latency_seconds", "Time that Milvus took.", "operation", "result"
        )
        self.http = self._latency("http_request_duration_seconds", "Time to answer.", "route", "method", "status")
        self.policy_latency = self._latency("policy_decision_latency_seconds", "Time to decide.", "engine", "result")
        self._graph_cache = self._gauge("oak_graph_cache_bytes", "Memory of compiled namespaces, estimated.", "livesum")
        self.outbox_pending = self._gauge(
            "outbox_pending", "Events not yet handed to a sink.", "livemostrecent", "sink"
        )
        self.outbox_oldest = self._gauge(
            "outbox_oldest_seconds", "Age of the oldest event not yet handed to a sink.", "livemostrecent", "sink"
        )
        self.outbox_published = self._counter("outbox_published", "Events handed to a sink.", "sink")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self._counted)

    def _gauge(self, name: str, text: str, together: Literal["livesum", "livemostrecent"], *labels: str) -> Gauge:
        """`together`: what several processes say."""
        return Gauge(name, text, labels, registry=self._counted, multiprocess_mode=together)

    def _latency(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(name, text, labels, buckets=BUCKETS_S, registry=self._counted)

    def register(self, collector: Collector) -> None:
        """Adds figures that are read when they are asked for, and are the same in every process."""
        self.registry.register(collector)

    def watch_graph_cache(self, kept: Callable[[], float]) -> None:
        """`kept` tells the bytes of this process's compiled namespaces, as often as its metrics are asked for."""
        self._kept = kept
        self._graph_cache.set_function(kept)

    def _tell(self) -> None:
        self._graph_cache.set(self._kept())

    def exposition(self) -> bytes:
        """The Prometheus text format, version 0.0.4."""
        return generate_latest(self.registry)
