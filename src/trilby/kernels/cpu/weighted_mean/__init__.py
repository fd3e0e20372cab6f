"""Weighted means on a CPU: `launch` has the operators, `programs` what is compiled."""
