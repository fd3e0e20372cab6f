"""Copies of nested tensors and modules, and modules put back as they were."""
