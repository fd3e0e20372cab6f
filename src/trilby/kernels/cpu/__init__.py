"""Kernels for a CPU, compiled by numba: a file or a folder for each recurrence."""
