"""Gauges that are read from the database when they are asked for, so that every replica shows the same."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import structlog
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from somabrain.errors import StoreUnavailableError

OTHER = "other"
"""The label of all tenants beyond the first METRICS_MAX_TENANTS."""

log = structlog.get_logger()


class Figures(Protocol):
    """What is shown of a tenant."""

    @property
    def tenant(self) -> str:
        """The label."""
        ...

    @property
    def active(self) -> int:
        """Active options."""
        ...

    @property
    def retired(self) -> int:
        """Retired options."""
        ...

    @property
    def active_utility(self) -> float:
        """Sum of U over the active options."""
        ...

    @property
    def prototypes(self) -> int:
        """Abstract states."""
        ...

    @property
    def model_bytes(self) -> int:
        """Models of discovered options, as stored."""
        ...

    @property
    def predictions(self) -> int:
        """Odds that were scored."""
        ...

    @property
    def squares(self) -> float:
        """Their squared errors, in sum."""
        ...

    @property
    def surplus(self) -> Mapping[int, float]:
        """What the odds of each bin promised beyond what came, in sum."""
        ...


class OptionGauges(Collector):
    """`option_count`, `option_utility_avg`, `oak_prototypes`, `oak_model_bytes`, and how predictions did.

    The latter are `oak_prediction_brier` and `oak_prediction_calibration_error`, of tenants that have scored ones.
    """

    def __init__(
        self,
        read: Callable[[], Sequence[Figures]],
        *,
        cache_s: float,
        tenants_max: int,
        monotonic_s: Callable[[], float],
    ) -> None:
        """`read` is asked at most every `cache_s` seconds; `tenants_max` tenants have labels of their own."""
        self._read = read
        self._cache_s = cache_s
        self._tenants_max = tenants_max
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._known: Sequence[Figures] = ()
        self._read_at_s: float | None = None

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """The families without samples: registering them asks the database nothing."""
        return self._families([])

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """The families; without samples while the database can't be read."""
        return self._families(self._figures())

    def _figures(self) -> Sequence[Figures]:
        with self._lock:
            now = self._monotonic_s()
            if self._read_at_s is None or now - self._read_at_s >= self._cache_s:
                try:
                    self._known = self._read()
                except StoreUnavailableError as error:
                    log.warning("metrics_unread", cause=repr(error.__cause__))
                    self._known = ()
                self._read_at_s = now
            return self._known

    def _families(self, figures: Sequence[Figures]) -> list[GaugeMetricFamily]:
        count = GaugeMetricFamily("option_count", "Options.", labels=["tenant_id", "status"])
        utility = GaugeMetricFamily("option_utility_avg", "Mean utility of active options.", labels=["tenant_id"])
        prototypes = GaugeMetricFamily("oak_prototypes", "Abstract states of all tenants.")
        model = GaugeMetricFamily("oak_model_bytes", "Models of discovered options of all tenants, as stored.")
        brier = GaugeMetricFamily("oak_prediction_brier", "Mean squared error of scored odds.", labels=["tenant_id"])
        error = GaugeMetricFamily(
            "oak_prediction_calibration_error", "Expected calibration error of scored odds.", labels=["tenant_id"]
        )
        for label, group in self._groups(figures):
            if predictions := sum(one.predictions for one in group):
                surplus: defaultdict[int, float] = defaultdict(float)
                for one in group:
                    for place, promised in one.surplus.items():
                        surplus[place] += promised
                brier.add_metric([label], sum(one.squares for one in group) / predictions)
                error.add_metric([label], sum(map(abs, surplus.values())) / predictions)
            active = sum(one.active for one in group)
            count.add_metric([label, "active"], active)
            count.add_metric([label, "retired"], sum(one.retired for one in group))
            utility.add_metric([label], sum(one.active_utility for one in group) / active if active else 0.0)
        if figures:
            prototypes.add_metric([], sum(one.prototypes for one in figures))
            model.add_metric([], sum(one.model_bytes for one in figures))
        return [count, utility, prototypes, model, brier, error]

    def _groups(self, figures: Sequence[Figures]) -> list[tuple[str, Sequence[Figures]]]:
        ranked = sorted(figures, key=lambda one: (-(one.active + one.retired), one.tenant))
        own, rest = ranked[: self._tenants_max], ranked[self._tenants_max :]
        groups: list[tuple[str, Sequence[Figures]]] = [(one.tenant, [one]) for one in own]
        return [*groups, (OTHER, rest)] if rest else groups
