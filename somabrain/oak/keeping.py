"""Retention: which options plans use, and the end of those that nobody does (DESIGN §5.6)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from somabrain.errors import StoreUnavailableError
from somabrain.oak.changes import Stamp
from somabrain.oak.option_manager import OptionManager
from somabrain.ports import Store
from somabrain.tenancy import Namespace, TenantId

_MS_PER_S = 1000


class Uses:
    """What plans and actions used, kept in memory and written now and then: a crash may lose it. Thread-safe."""

    def __init__(self, *, store: Store, clock_ms: Callable[[], int]) -> None:
        """Writes nothing before `flush`."""
        self._store = store
        self._clock_ms = clock_ms
        self._lock = threading.Lock()
        self._used: dict[tuple[TenantId, Namespace], dict[str, int]] = {}

    def note(self, tenant: TenantId, namespace: Namespace, option_ids: Iterable[str]) -> None:
        """These options were used now."""
        now_ms = self._clock_ms()
        with self._lock:
            self._used.setdefault((tenant, namespace), {}).update(dict.fromkeys(option_ids, now_ms))

    def flush(self) -> None:
        """Writes what was noted since the last time; what can't be written is tried again with the next."""
        with self._lock:
            used, self._used = self._used, {}
        for (tenant, namespace), uses in used.items():
            try:
                with self._store.write(tenant) as tx:
                    tx.experience.save_uses(namespace, uses)
            except StoreUnavailableError:
                with self._lock:
                    kept = self._used.setdefault((tenant, namespace), {})
                    self._used[tenant, namespace] = {**uses, **kept}


def retire_unused(store: Store, manager: OptionManager, tenants: Iterable[TenantId], stamp: Stamp) -> int:
    """Retires discovered options that nobody used for their retention; returns how many.

    Declared options and primitives are never retired by time. Raises `StoreUnavailableError`.
    """
    retired = 0
    for tenant in tenants:
        with store.read(tenant) as tx:
            namespaces = [record.namespace for record in tx.namespaces()]
        for namespace in namespaces:
            retired += _retired(store, manager, tenant, namespace, stamp)
    return retired


def _retired(store: Store, manager: OptionManager, tenant: TenantId, namespace: Namespace, stamp: Stamp) -> int:
    before_ms = stamp.now_ms - int(manager.tau_min_s * _MS_PER_S)
    with store.read(tenant) as tx:
        if not tx.experience.unused(namespace, before_ms=before_ms):
            return 0
    retired = 0
    with store.write(tenant) as tx:
        for option_id, used_at_ms in tx.experience.unused(namespace, before_ms=before_ms).items():
            option = manager.get(tx, namespace, option_id)
            if used_at_ms + manager.tau_s(option) * _MS_PER_S < stamp.now_ms:
                manager.retire(tx, namespace, option_id, stamp)
                retired += 1
    return retired
