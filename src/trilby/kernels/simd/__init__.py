"""Vectors as values of a kernel: loaded, computed with and stored many numbers at a time."""
