"""The forms that a mixer may have. Without torch, so that the command line can name them early."""

FORMS = ("loop", "matrix", "softmax", "scan", "chunk", "step", "shard", "fused")
"""The order of forms. A mixer defines them, docs list them and the verifier runs them so."""
