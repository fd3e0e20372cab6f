"""What torch computes when trilby is imported, so that no two threads make a first call at once."""

import subprocess
import sys

SEEN = """
import torch
from torch.utils._python_dispatch import TorchDispatchMode

class Record(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if args and isinstance(args[0], torch.Tensor):
            print(function.overloadpacket.__name__, args[0].dtype, args[0].numel())
        return function(*args, **(kwargs or {}))

with Record():
    import trilby
"""


def test_each_function_is_called_on_one_element_first():
    """That the first call on two threads may be inexact was seen in storms of fresh processes."""
    done = subprocess.run([sys.executable, "-c", SEEN], check=True, capture_output=True, text=True)
    seen = set(done.stdout.splitlines())
    for name in ("exp", "log", "sin", "cos", "sqrt", "tanh", "erf", "erfinv", "log1p", "lgamma"):
        assert {f"{name} torch.float32 1", f"{name} torch.float64 1"} <= seen
