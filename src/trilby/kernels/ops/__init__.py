"""The operators of trilby, family by family, and where their kernels run. Imports torch alone."""

import warnings

import torch
from torch import Tensor

from ...env import no_compiler
from . import causal_convolution as _causal_convolution
from . import delta_rule as _delta_rule
from . import exponential_mean as _exponential_mean
from . import fading_memory as _fading_memory
from . import linear_attention as _linear_attention
from . import prefix_mean as _prefix_mean
from . import selective_scan as _selective_scan
from . import softmax_attention as _softmax_attention
from . import weighted_mean as _weighted_mean
from .causal_convolution import causal_convolution
from .delta_rule import delta_rule, delta_rule_inplace
from .exponential_mean import exponential_mean
from .fading_memory import fading_memory, fading_memory_inplace
from .in_place import InPlace
from .linear_attention import linear_attention
from .operator import Operator
from .prefix_mean import prefix_mean, prefix_mean_backward
from .selective_scan import selective_scan, selective_scan_inplace
from .softmax_attention import softmax_attention
from .weighted_mean import weighted_mean

__all__ = [
    "DEVICES",
    "OPERATORS",
    "InPlace",
    "causal_convolution",
    "delta_rule",
    "delta_rule_inplace",
    "exponential_mean",
    "fading_memory",
    "fading_memory_inplace",
    "form",
    "linear_attention",
    "obstacle",
    "prefix_mean",
    "prefix_mean_backward",
    "selective_scan",
    "selective_scan_inplace",
    "softmax_attention",
    "weighted_mean",
]

OPERATORS: tuple[Operator, ...] = (
    _prefix_mean.FORWARD,
    _prefix_mean.BACKWARD,
    _exponential_mean.FORWARD,
    _exponential_mean.BACKWARD,
    _fading_memory.FORWARD,
    _fading_memory.BACKWARD,
    _linear_attention.FORWARD,
    _linear_attention.BACKWARD,
    _causal_convolution.FORWARD,
    _causal_convolution.BACKWARD,
    _selective_scan.FORWARD,
    _selective_scan.BACKWARD,
    _delta_rule.FORWARD,
    _delta_rule.BACKWARD,
    _softmax_attention.FORWARD,
    _softmax_attention.BACKWARD,
    _weighted_mean.FORWARD,
    _weighted_mean.BACKWARD,
)
"""Every operator; a new one is a line here."""


def devices(operators: tuple[Operator, ...]) -> tuple[str, ...]:
    """The types of device on which all of these operators run; on `meta` they give shapes alone."""
    first, *rest = operators
    return (*(d for d in first.devices if all(d in o.devices for o in rest)), "meta")


DEVICES = devices(OPERATORS)
"""Where every operator runs."""

NO_COMPILER = no_compiler()
"""Why kernels cannot be compiled in this process; empty where they can."""
_told = set[str]()


def obstacle(x: Tensor) -> str:
    """Why the kernels do not run on a tensor, in words; empty where they run.

    >>> obstacle(torch.zeros(1))
    ''
    """
    if x.device.type not in DEVICES:
        return f"is on {x.device}, the kernel runs on {' '.join(DEVICES)}; move it, or"
    if NO_COMPILER:
        return f"needs a kernel, and {NO_COMPILER}, or"
    traced = type(x) is not Tensor or torch.jit.is_tracing()  # type: ignore[attr-defined]
    if traced and torch.onnx.is_in_onnx_export():
        return "is exported to ONNX, which has no operator for the kernel;"
    return ""


def form(x: object, otherwise: str) -> str:
    """The form to take: `fused` where the kernels run, else the other one.

    Where the kernels cannot be compiled, a warning says so once in a process.

    >>> form(torch.zeros(1), "scan"), form(torch.zeros(1, device="meta"), "scan")
    ('fused', 'fused')
    """
    if not isinstance(x, Tensor) or not obstacle(x):
        return "fused"
    if NO_COMPILER and x.device.type in DEVICES and not torch.compiler.is_compiling():
        _tell(f"trilby: {NO_COMPILER}; until then mixers run as torch operations, which is slower")
    return otherwise


def _tell(line: str) -> None:
    if line not in _told:
        _told.add(line)
        warnings.warn(line, RuntimeWarning, stacklevel=5)  # the line that called the mixer
