"""The protocol's side of the tools: listing them and calling them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from mcp import MCPError, types
from mcp.server import Server, ServerRequestContext
from pydantic import TypeAdapter, ValidationError

from somabrain.client import AsyncBrain, BrainError
from somabrain.mcp.arguments import schema_of
from somabrain.mcp.telling import invalid, no_json, refused
from somabrain.mcp.tools import INSTRUCTIONS, TOOLS, Tool

_BY_NAME = {tool.name: tool for tool in TOOLS}


def make_server(brain: AsyncBrain) -> Server[Any]:
    """A server whose tools ask `brain`, which stays the caller's to close. Calls may run at the same time."""
    listed = [told(tool) for tool in TOOLS]

    async def list_tools(
        _context: ServerRequestContext[Any], _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=listed)

    async def call_tool(
        _context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        tool = _BY_NAME.get(params.name)
        if tool is None:
            raise MCPError(types.INVALID_PARAMS, f"there is no tool {params.name!r}: {', '.join(_BY_NAME)}")
        return await called(tool, brain, params.arguments or {})

    return Server(
        "somabrain",
        title="Somabrain",
        version=_version(),
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def told(tool: Tool) -> types.Tool:
    """The tool as clients see it."""
    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=schema_of(tool.takes),
        output_schema=TypeAdapter(tool.answers).json_schema(),
        annotations=types.ToolAnnotations(
            title=tool.title,
            read_only_hint=tool.reads,
            destructive_hint=tool.replaces,
            idempotent_hint=tool.reads,  # a write without an id of the caller's is another one each time
            open_world_hint=False,
        ),
    )


async def called(tool: Tool, brain: AsyncBrain, arguments: Mapping[str, Any]) -> types.CallToolResult:
    """What came of a call: the service's answer, or a text that begins with a stable code and says what to do."""
    problem = no_json(arguments)
    if problem is not None:
        return _failed(problem)
    try:
        given = tool.takes.model_validate(arguments).given()
    except ValidationError as error:
        return _failed(invalid(error))
    repeat = None
    if tool.own_id is not None:
        own = given[tool.own_id] = given.get(tool.own_id) or str(uuid.uuid4())
        repeat = f"To be sure, call again with the same arguments and {tool.own_id} {own}: it is then stored once."
    try:
        answer = await tool.method(brain, **given)
    except BrainError as error:
        return _failed(refused(error, repeat))
    found = answer.model_dump(mode="json", by_alias=True, exclude_unset=True)
    text = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], structured_content=found)


def _failed(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], is_error=True)


def _version() -> str:
    try:
        return version("somabrain")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return ""
