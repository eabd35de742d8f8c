"""Tests of the repository itself: its rules and its tools."""
