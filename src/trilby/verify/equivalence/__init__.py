"""Two ways to compute side by side: their results, and their float64 twins."""
