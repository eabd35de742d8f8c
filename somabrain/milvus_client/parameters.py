"""What the engine is told, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from somabrain.ports import Shelf

LITE_INDEX_TYPES = frozenset({"AUTOINDEX", "BIN_FLAT", "FLAT", "IVF_FLAT"})
"""What Milvus Lite 2.5 has; of BIN_IVF_FLAT and HNSW it says that they are not there."""

LITE_INSTEAD = {"BIN_IVF_FLAT": "BIN_FLAT", "HNSW": "FLAT"}
"""What to use on Milvus Lite for what it has not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MilvusParameters:
    """Where Milvus is and how it is asked; the meaning of each is that of the setting of its name.

    `uri` is an address (`http://…`, `https://…`, `tcp://…`, `unix:…`) or the path of a Milvus Lite file.
    """

    uri: str
    token: str
    prefix: str
    dimension: int
    index_type: str
    binary_bits: int
    nlist: int
    nprobe: int
    m: int
    ef_construction: int
    ef: int
    candidates: int
    timeout_s: float
    connect_timeout_s: float

    @property
    def lite_path(self) -> Path | None:
        """The file of Milvus Lite, absolute; `None` where `uri` is a server's."""
        return None if "://" in self.uri or self.uri.startswith("unix:") else Path(self.uri).absolute()

    @property
    def binary(self) -> bool:
        """Whether vectors are signs of random projections."""
        return self.index_type.startswith("BIN_")

    @property
    def metric(self) -> str:
        """The engine's distance."""
        return "HAMMING" if self.binary else "COSINE"

    @property
    def vector_type(self) -> str:
        """The engine's type of the vector field."""
        return "BINARY_VECTOR" if self.binary else "FLOAT_VECTOR"

    @property
    def vector_dimension(self) -> int:
        """Components of the vector field: bits where it is binary."""
        return self.binary_bits if self.binary else self.dimension

    def collection(self, shelf: Shelf) -> str:
        """The name of a shelf's collection."""
        return f"{self.prefix}_{shelf.value}"

    def build(self) -> Mapping[str, int]:
        """The index's parameters."""
        if "IVF" in self.index_type:
            return {"nlist": self.nlist}
        return {"M": self.m, "efConstruction": self.ef_construction} if self.index_type == "HNSW" else {}

    def breadth(self, limit: int) -> Mapping[str, int]:
        """The parameters of a search for `limit` rows."""
        if "IVF" in self.index_type:
            return {"nprobe": min(self.nprobe, self.nlist)}
        return {"ef": max(self.ef, limit)} if self.index_type == "HNSW" else {}
