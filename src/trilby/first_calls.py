"""Functions of torch that are inexact when several threads call one of them for the first time.

For many functions of each element torch calls a library of Intel, which chooses its program in the
first call of each function. If two threads of torch make that call at once, one of them may
compute with a program that keeps half of the digits: in that call alone, without a message, and in
no later one. It was seen in about one of a hundred fresh processes on two busy processors, with
torch 2.13, for `exp`, `log`, `sin`, `cos`, `sqrt`, `tanh`, `erf` and `erfinv`. One call on one
thread beforehand avoids it. Source: issue 188792 of pytorch/pytorch.
"""

import torch

FUNCTIONS = (
    torch.acos, torch.asin, torch.atan, torch.cos, torch.erf, torch.erfc, torch.erfinv, torch.exp,
    torch.expm1, torch.lgamma, torch.log, torch.log10, torch.log1p, torch.log2, torch.sin,
    torch.sqrt, torch.tan, torch.tanh,
)  # fmt: skip


def called() -> None:
    """Call each function once for each dtype, on one element and so on one thread.

    It takes about two milliseconds, when trilby is imported after torch, or torch after trilby.
    """
    for dtype in (torch.float32, torch.float64):
        half = torch.full((1,), 0.5, dtype=dtype, device="cpu")
        for function in FUNCTIONS:
            function(half)
