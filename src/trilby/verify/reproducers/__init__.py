"""Reproducers: Python that shows a verdict again."""
