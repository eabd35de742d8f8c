"""The service with one more route, which parses a body and answers with a document: what any request costs.

`python -m benchmarks.echo PORT`, with the settings of the environment.
"""

from __future__ import annotations

import gc
import sys

import orjson
import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from common.config.settings import load_settings
from somabrain.app import Application
from somabrain.bootstrap import make_app
from somabrain.observability.logs import configure_logs

PATH = "/echo"


class Echo:
    """`PUT` says what `POST` answers; nobody else is asked, and nothing is written."""

    def __init__(self) -> None:
        """Answers null until told."""
        self._document: object = None

    async def answer(self, request: Request) -> Response:
        """The document, as told by now."""
        body = orjson.loads(await request.body())
        if request.method == "PUT":
            self._document = body
        return Response(orjson.dumps(self._document), media_type="application/json")


def application() -> Application:
    """The service of the environment's settings, with the route."""
    settings = load_settings()
    configure_logs(settings.somabrain_log_level)
    made = make_app(settings)
    made.router.routes.insert(0, Route(PATH, Echo().answer, methods=["POST", "PUT"]))
    return made


def main(port: int) -> None:
    """Serves until it is told to stop."""
    made = application()
    gc.freeze()
    uvicorn.run(made, host="127.0.0.1", port=port, log_config=None, access_log=False, server_header=False)


if __name__ == "__main__":
    main(int(sys.argv[1]))
