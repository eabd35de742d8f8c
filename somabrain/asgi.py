"""`uvicorn somabrain.asgi:app`: the application of the environment's settings."""

from __future__ import annotations

from common.config.settings import load_settings
from somabrain.bootstrap import make_app

app = make_app(load_settings())
