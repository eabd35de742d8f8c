"""The tests, arranged by what they need."""
