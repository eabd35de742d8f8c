"""From settings to the text embedder."""

from __future__ import annotations

from importlib.util import find_spec

from common.config.settings import Settings
from somabrain.embedding.hashed import HashedEmbedder
from somabrain.embedding.remote import RemoteEmbedder, RemoteLimits
from somabrain.embedding.wordllama import WordLlamaEmbedder
from somabrain.ports import Embedder


def open_embedder(settings: Settings, recorded: str | None) -> Embedder:
    """The embedder of EMBEDDER; it reads and connects when it is first asked. Raises `ConfigurationError`.

    `recorded`: the id that the database was written with, `None` where nothing was.
    """
    if _kind(settings, recorded) == "wordllama":
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


def _kind(settings: Settings, recorded: str | None) -> str:
    if settings.embedder != "auto":
        return settings.embedder
    if recorded is not None:
        return recorded.split("-", 1)[0]
    return "hashed" if find_spec("wordllama") is None else "wordllama"
