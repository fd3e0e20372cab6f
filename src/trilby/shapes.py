"""The contract of a call: axes, dtypes and devices are checked here, or named in an error."""

import torch
from torch import Tensor

from .errors import DtypeError, ShapeError

FLOATING = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
"""The dtypes in which a sequence may arrive."""


def bind(where: str, /, **arguments: tuple[object, str]) -> dict[str, int]:
    """Bind axis letters to sizes across all arguments of one call.

    Args:
        where: the call as the user knows it, quoted in the error.
        **arguments: `name=(tensor, "B T C")`; what was not given is left out.

    Returns:
        The size of every axis letter, e.g. `{"B": 2, "T": 7}`.

    Raises:
        DtypeError: an argument is not a tensor.
        ShapeError: wrong rank, or a letter bound to two sizes. The message names the call, the
            argument, its shape, the pattern, and who bound the letter first.

    >>> bind("demo", q=(torch.zeros(2, 7, 4), "B T K"), g=(torch.zeros(2, 7), "B T"))
    {'B': 2, 'T': 7, 'K': 4}
    >>> bind("demo", q=(torch.zeros(2, 7), "B T"), g=(torch.zeros(2, 8), "B T"))
    Traceback (most recent call last):
    trilby.errors.ShapeError: demo: g is [2, 8], expected [B T] with T=7 (from q)
    """
    size: dict[str, int] = {}
    owner: dict[str, str] = {}
    for name, (tensor, pattern) in arguments.items():
        if not isinstance(tensor, Tensor):
            how = (
                f"convert it first, e.g. torch.as_tensor({name})"
                if tensor is not None
                else "give one"
            )
            raise DtypeError(
                f"{where}: {name} is {what(tensor)}, expected a tensor [{pattern}]; {how}"
            )
        axes, shape = pattern.split(), tensor.shape
        if len(axes) != len(shape):
            mend = "add the missing" if len(shape) < len(axes) else "index or merge the extra"
            raise ShapeError(
                f"{where}: {name} is {list(shape)}, expected rank {len(axes)} [{pattern}]; "
                f"{mend} axes"
            )
        for axis, n in zip(axes, shape, strict=True):
            if size.setdefault(axis, n) != n:
                raise ShapeError(
                    f"{where}: {name} is {list(shape)}, expected [{pattern}] "
                    f"with {axis}={size[axis]} (from {owner[axis]})"
                )
            owner.setdefault(axis, name)
    return size


def floating(where: str, /, **tensors: Tensor) -> None:
    """Require a dtype of `FLOATING` of each tensor, and the same one of all.

    Raises:
        DtypeError: integers, complex, bool, or two dtypes in one call; nothing is cast silently.

    >>> floating("demo", x=torch.arange(3))
    Traceback (most recent call last):
    trilby.errors.DtypeError: demo: x is int64, expected float64, float32, bfloat16 or float16; \
convert it first, e.g. x.float()
    """
    first, wanted = next(iter(tensors.items()))
    for name, tensor in tensors.items():
        if tensor.dtype not in FLOATING:
            how = "real" if tensor.is_complex() else "float()"
            raise DtypeError(
                f"{where}: {name} is {_short(tensor.dtype)}, expected float64, float32, bfloat16 "
                f"or float16; convert it first, e.g. {name}.{how}"
            )
        if tensor.dtype != wanted.dtype:
            raise DtypeError(
                f"{where}: {name} is {_short(tensor.dtype)} but {first} is {_short(wanted.dtype)}; "
                f"give both one dtype, e.g. {name}.to({first}.dtype)"
            )


def exactly(where: str, dtype: torch.dtype, like: Tensor, /, **tensors: Tensor) -> None:
    """Require one dtype, and the device of `like`, of tensors that belong to a state.

    Raises:
        DtypeError: another dtype or another device.

    >>> exactly("demo", torch.int64, torch.zeros(1), count=torch.ones(2))
    Traceback (most recent call last):
    trilby.errors.DtypeError: demo: count is float32, expected int64; \
convert it, e.g. count.to(torch.int64)
    """
    for name, tensor in tensors.items():
        if tensor.dtype != dtype:
            raise DtypeError(
                f"{where}: {name} is {_short(tensor.dtype)}, expected {_short(dtype)}; "
                f"convert it, e.g. {name}.to({dtype})"
            )
        if tensor.device != like.device:
            raise DtypeError(
                f"{where}: {name} is on {tensor.device} but the sequence is on {like.device}; "
                f"move it, e.g. {name}.to('{like.device}')"
            )


def readable(*tensors: Tensor) -> bool:
    """Whether values may be looked at: not while compiling, nor under vmap, nor on a fake tensor.

    >>> readable(torch.zeros(2)), readable(torch.zeros(2, device="meta"))
    (True, False)
    """
    if torch.compiler.is_compiling():
        return False
    return all(type(t) is Tensor and t.device.type != "meta" and not _mapped(t) for t in tensors)


def _mapped(tensor: Tensor) -> bool:
    """Whether `vmap` maps a tensor at any depth of transforms; torch has no public question."""
    functorch = torch._C._functorch
    while functorch.is_functorch_wrapped_tensor(tensor):
        if functorch.is_batchedtensor(tensor):
            return True
        tensor = functorch.get_unwrapped(tensor)
    return False


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def what(value: object) -> str:
    """What a value is that should have been something else, in words.

    >>> what([1]), what(torch.zeros(2)), what((1, 2, 3))
    ('a list', 'a torch.Tensor', 'a tuple of 3')
    """
    kind = type(value)
    if value is None:
        return "None"
    if isinstance(value, tuple):
        return f"a tuple of {len(value)}"
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
