"""The delta rule: `launch` has the operators, `forward` and `backward` the programs."""
