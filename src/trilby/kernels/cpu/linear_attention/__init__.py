"""The recurrence of linear attention: `launch` has the operators, `passes` the program."""
