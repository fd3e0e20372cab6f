"""Measuring: ways of doing one thing timed in turn, and forms timed only after their verdict."""

from .clock import Timings, interleaved
from .forms import mixer
from .results import Results

__all__ = ["Results", "Timings", "interleaved", "mixer"]
