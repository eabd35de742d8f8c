"""An MCP server over `somabrain.client`: what a model can do with its memory and its experience, as tools.

`somabrain mcp` runs it. Only this package knows the SDK, and it knows nothing of the service but its client.
"""
