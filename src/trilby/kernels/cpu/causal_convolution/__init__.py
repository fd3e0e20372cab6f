"""Short causal convolutions on a CPU: one pass over time, forward and backward."""
