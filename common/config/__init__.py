"""Configuration: the one Settings class."""
