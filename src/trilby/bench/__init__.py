"""Benchmarks: the forms of a mixer are checked on the same inputs, then timed in turn."""

from .clock import Timings, interleaved
from .forms import mixer
from .results import Results

__all__ = ["Results", "Timings", "interleaved", "mixer"]
