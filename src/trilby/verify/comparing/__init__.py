"""Comparing two results: where they are farthest apart, and whether that is more than rounding."""
