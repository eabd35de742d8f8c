"""A bounded cache."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(slots=True)
class _Kept(Generic[V]):
    value: V
    weight: int


class Recent(Generic[K, V]):
    """A mapping bounded by number and by weight that forgets what was used longest ago. Thread-safe.

    A value may be made twice. The one used last is kept, whatever it weighs.
    """

    def __init__(self, most: int, *, weigh: Callable[[V], int] | None = None, heaviest: int | None = None) -> None:
        """`most` values are kept, of `heaviest` together; `weigh` says what one that was made weighs, else nothing."""
        self._most = most
        self._weigh = weigh
        self._heaviest = heaviest
        self._kept: OrderedDict[K, _Kept[V]] = OrderedDict()
        self._weight = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many values are here."""
        return len(self._kept)

    @property
    def weight(self) -> int:
        """What all of them weigh."""
        return self._weight

    def get(self, key: K, make: Callable[[], V]) -> V:
        """The value of `key`, made if it is not here."""
        with self._lock:
            known = self._kept.get(key)
            if known is not None:
                self._kept.move_to_end(key)
                return known.value
        value = make()
        weight = 0 if self._weigh is None else self._weigh(value)
        with self._lock:
            kept = self._kept.get(key)
            if kept is None:
                kept = self._kept[key] = _Kept(value, weight)
                self._weight += weight
            self._kept.move_to_end(key)
            self._forget()
        return kept.value

    def reweigh(self, key: K, weight: int) -> None:
        """The value of `key` weighs so much by now, if it is here; it counts as used."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and kept.weight != weight:
                self._weight += weight - kept.weight
                kept.weight = weight
                self._kept.move_to_end(key)
                self._forget()

    def drop(self, key: K) -> None:
        """Forgets the value, if it is here."""
        with self._lock:
            kept = self._kept.pop(key, None)
            if kept is not None:
                self._weight -= kept.weight

    def _forget(self) -> None:
        while len(self._kept) > max(1, self._most) or (
            self._heaviest is not None and self._weight > self._heaviest and len(self._kept) > 1
        ):
            _, oldest = self._kept.popitem(last=False)
            self._weight -= oldest.weight
