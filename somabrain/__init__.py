"""Somabrain: a memory and skill runtime for AI agents."""
