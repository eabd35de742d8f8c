"""OpenTelemetry traces over OTLP/HTTP, where an endpoint is set (DESIGN §11). FastAPI makes the spans."""

from __future__ import annotations

from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from somabrain.errors import ConfigurationError

TRACES_PATH = "/v1/traces"
"""Where an OTLP/HTTP receiver takes traces (OTLP specification 1.5, "OTLP/HTTP Request")."""


def tracer_provider(endpoint: str, version: str) -> TracerProvider:
    """Sends spans in the background, and what is left when it is shut down.

    A receiver that is down costs spans, never a request. Raises `ConfigurationError` for an endpoint that is no
    http address.
    """
    address = urlsplit(endpoint)
    if address.scheme not in {"http", "https"} or not address.hostname:
        message = f"OTEL_EXPORTER_OTLP_ENDPOINT: {endpoint!r} is not an http address"
        raise ConfigurationError(message)
    provider = TracerProvider(
        resource=Resource.create({"service.name": "somabrain", "service.version": version}), shutdown_on_exit=False
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint.rstrip("/") + TRACES_PATH)))
    return provider
