"""The forms that a mixer may have. Imports no torch, so that the command line starts fast."""

FORMS = ("loop", "matrix", "softmax", "scan", "chunk", "step", "shard", "fused")
"""Forms in the order in which mixers define them, pages list them and the verifier runs them."""
