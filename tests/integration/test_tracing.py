"""Traces arrive at an OTLP/HTTP receiver, and their ids are those of the answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.servers import free_port, somabrain


class Receiver:
    """What was sent to it."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        received = self.spans

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    import gzip  # noqa: PLC0415

                    body = gzip.decompress(body)
                request = ExportTraceServiceRequest.FromString(body)
                received.extend(s for r in request.resource_spans for c in r.scope_spans for s in c.spans)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Silent."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    thread = threading.Thread(target=found.server.serve_forever)
    thread.start()
    yield found
    found.server.shutdown()
    thread.join()
    found.server.server_close()


def test_a_request_is_a_span_with_the_id_of_its_answer(receiver: Receiver, tmp_path: Path) -> None:
    with somabrain({"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}, tmp_path) as server:
        own = httpx.get(f"{server.url}/oak/option/none").json()["trace_id"]
        given = "0af7651916cd43dd8448eb211c80319c"
        headers = {"traceparent": f"00-{given}-b7ad6b7169203331-01"}
        assert httpx.get(f"{server.url}/oak/option/none", headers=headers).json()["trace_id"] == given
        server.stop()
    spans = {span.trace_id.hex(): span for span in receiver.spans}
    assert {own, given} <= set(spans)
    attributes = {pair.key: pair.value for pair in spans[own].attributes}
    assert attributes["http.route"].string_value == "/oak/option/{option_id}"
    assert attributes["http.response.status_code"].int_value == 404


def test_a_receiver_that_is_down_costs_no_request(tmp_path: Path) -> None:
    with somabrain({"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}"}, tmp_path) as server:
        for _ in range(5):
            assert httpx.get(f"{server.url}/oak/options").status_code == 200
