"""The recurrence of decay: `launch` has the operators, `forward` and `backward` the programs."""
