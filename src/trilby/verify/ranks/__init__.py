"""Processes that are started for a check, and calls of which each of them makes its part."""
