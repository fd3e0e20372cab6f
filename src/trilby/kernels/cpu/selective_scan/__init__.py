"""Selective scans on a CPU: channels side by side in vectors, one position after the other."""
