"""From settings to the text embedder."""

from __future__ import annotations

from common.config.settings import Settings
from somabrain.embedding.hashed import HashedEmbedder
from somabrain.embedding.remote import RemoteEmbedder, RemoteLimits
from somabrain.embedding.wordllama import WordLlamaEmbedder
from somabrain.ports import Embedder


def open_embedder(settings: Settings) -> Embedder:
    """The embedder of EMBEDDER; it reads and connects when it is first asked. Raises `ConfigurationError`."""
    if settings.embedder == "wordllama":
        return WordLlamaEmbedder(settings.memory_dim)
    if settings.embedder == "http":
        return RemoteEmbedder(
            url=settings.embedder_url,
            model=settings.embedder_model,
            key=settings.embedder_key or None,
            dimension=settings.memory_dim,
            ask=settings.embedder_dimensions,
            limits=RemoteLimits(
                deadline_s=settings.embedder_timeout_s,
                attempts=settings.embedder_attempts,
                pause_s=settings.embedder_pause_s,
                batch_max=settings.embedder_batch,
                text_chars_max=settings.embedder_text_chars,
            ),
        )
    return HashedEmbedder(settings.memory_dim)
