"""Short causal convolutions on a CPU: one pass over time, tile by tile, forward and backward."""
