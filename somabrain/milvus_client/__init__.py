"""Milvus, embedded or a server: the vector engine of DESIGN §10. The only importer of pymilvus."""

from __future__ import annotations

from somabrain.milvus_client.engine import RESULT_ROWS_MAX, MilvusEngine
from somabrain.milvus_client.parameters import MilvusParameters
from somabrain.milvus_client.rows import DOCUMENT_BYTES_MAX

__all__ = ["DOCUMENT_BYTES_MAX", "RESULT_ROWS_MAX", "MilvusEngine", "MilvusParameters"]
