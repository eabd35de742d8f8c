"""Tests with a real server at the other end."""
