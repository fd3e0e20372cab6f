"""Benchmarks: the forms of a mixer are checked on the same inputs, then timed in turn."""

from .clock import Timings, interleaved
from .forms import mixer
from .lengths import Growth, growth
from .results import Results

__all__ = ["Growth", "Results", "Timings", "growth", "interleaved", "mixer"]
