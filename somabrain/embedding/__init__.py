"""Texts as unit vectors: adapters of the port `Embedder`."""
