"""Every metric, declared once (DESIGN §11). One registry for each application, none shared."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of every latency histogram: .5 ms to 10 s."""


class Metrics:
    """The process's metrics."""

    def __init__(self) -> None:
        """All at zero, in a registry of their own."""
        self.registry = CollectorRegistry()
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
        self.graph_cache = Gauge(
            "oak_graph_cache_bytes", "Memory of compiled namespaces, estimated.", registry=self.registry
        )
        self.outbox_pending = Gauge(
            "outbox_pending", "Events not yet handed to a sink.", ["sink"], registry=self.registry
        )
        self.outbox_oldest = Gauge(
            "outbox_oldest_seconds",
            "Age of the oldest event not yet handed to a sink.",
            ["sink"],
            registry=self.registry,
        )
        self.outbox_published = self._counter("outbox_published", "Events handed to a sink.", "sink")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _latency(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(name, text, labels, buckets=BUCKETS_S, registry=self.registry)

    def register(self, collector: Collector) -> None:
        """Adds figures that are read when they are asked for."""
        self.registry.register(collector)

    def exposition(self) -> bytes:
        """The Prometheus text format, version 0.0.4."""
        return generate_latest(self.registry)
