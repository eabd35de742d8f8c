"""Remembering, pure: what a memory is, and which memories answer a query."""
