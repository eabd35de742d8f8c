"""The service with routes that read a body and answer with a document: what any request costs.

One parses the body and does nothing else. One for plans and one for acts stand behind authentication, policy and checks
like every route of the service, and read the body as those do.

`python -m benchmarks.echo PORT`, with the settings of the environment.
"""

from __future__ import annotations

import gc
import sys
from typing import Any

import orjson
import uvicorn
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from common.config.settings import load_settings
from somabrain.api.experience_schemas import ActBody
from somabrain.api.guard import GuardedRoute
from somabrain.api.schemas import PlanBody
from somabrain.api.writes import json_response
from somabrain.app import Application
from somabrain.bootstrap import make_app
from somabrain.observability.logs import configure_logs

PATH = "/echo"


class Echo:
    """`PUT` says what `POST` answers; nobody else is asked, and nothing is written."""

    def __init__(self) -> None:
        """Answers null until told."""
        self._document: object = None

    def guarded(self, operation: str, body: type[BaseModel]) -> GuardedRoute:
        """A route that is asked as the operation is, and answers the document."""

        def answer(request: Request, body: Any) -> Response:  # noqa: ARG001 - as routes are called
            return json_response(self._document)

        answer.__annotations__["body"] = body
        return GuardedRoute(f"{PATH}/{operation}", answer, methods=["POST"], operation_id=operation)

    async def answer(self, request: Request) -> Response:
        """The document, as told by now."""
        body = orjson.loads(await request.body())
        if request.method == "PUT":
            self._document = body
        return Response(orjson.dumps(self._document), media_type="application/json")


def application() -> Application:
    """The service of the environment's settings, with the routes."""
    settings = load_settings()
    configure_logs(settings.somabrain_log_level)
    made = make_app(settings)
    echo = Echo()
    guarded = [echo.guarded("plan", PlanBody), echo.guarded("act", ActBody)]
    made.router.routes[:0] = [Route(PATH, echo.answer, methods=["POST", "PUT"]), *guarded]
    return made


def main(port: int) -> None:
    """Serves until it is told to stop."""
    made = application()
    gc.freeze()
    uvicorn.run(made, host="127.0.0.1", port=port, log_config=None, access_log=False, server_header=False)


if __name__ == "__main__":
    main(int(sys.argv[1]))
