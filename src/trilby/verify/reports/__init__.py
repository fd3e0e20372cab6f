"""What `check` and `same` return: verdicts and reports."""
