"""Checks of axes, dtypes and devices; an error says which argument is wrong."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

import torch
from torch import Tensor

from .errors import DocumentError, DtypeError, ShapeError
from .torch_private import mapped

FLOATING = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
"""The dtypes that a sequence may have."""
_AUTOCAST = {kind: torch.amp.is_autocast_available(kind) for kind in ("cpu", "cuda", "mps", "meta")}
"""Known before anything is compiled: `torch.compile` of torch 2.6 cannot trace the question."""
READ = ("cpu",)
"""The types of device whose values every call looks at. Elsewhere a look waits for the device."""
COARSE = ("mps",)
"""The types of device that have no float64."""
_asked = ContextVar("trilby_value_checks", default=False)


def bind(where: str, /, **arguments: tuple[object, str]) -> dict[str, int]:
    """Bind axis letters to sizes across all arguments of one call.

    Args:
        where: the call as the user knows it, quoted in the error.
        **arguments: `name=(tensor, "B T C")`; leave out an argument that was not given. An axis
            written `:H` may have any size: `groups` compares heads that some arguments share.

    Returns:
        The size of every axis letter, e.g. `{"B": 2, "T": 7}`.

    Raises:
        DtypeError: an argument is not a tensor.
        ShapeError: wrong rank, or a letter with two sizes. The message names the call, the
            argument, its shape, the pattern, and the argument that had the letter first.

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
                f"{where}: {name} is {what(tensor)}, expected a tensor "
                f"[{pattern.replace(':', '')}]; {how}"
            )
        axes, shape = pattern.split(), tensor.shape
        pattern = pattern.replace(":", "")
        if len(axes) != len(shape):
            mend = "add the missing" if len(shape) < len(axes) else "index or merge the extra"
            raise ShapeError(
                f"{where}: {name} is {list(shape)}, expected rank {len(axes)} [{pattern}]; "
                f"{mend} axes"
            )
        for axis, n in zip(axes, shape, strict=True):
            if axis[0] == ":":
                continue
            if size.setdefault(axis, n) != n:
                raise ShapeError(
                    f"{where}: {name} is {list(shape)}, expected [{pattern}] "
                    f"with {axis}={size[axis]} (from {owner[axis]})"
                )
            owner.setdefault(axis, name)
    return size


def floating(where: str, /, **tensors: Tensor) -> None:
    """Raise unless all tensors have one device and one dtype, which is in `FLOATING`.

    Raises:
        DtypeError: integers, complex, bool, two dtypes or two devices in one call; nothing is cast
            or moved silently.

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
        if tensor.device != wanted.device:
            beside(where, wanted, **{name: tensor})


def exactly(where: str, dtype: torch.dtype, like: Tensor, /, **tensors: Tensor) -> None:
    """Raise unless the tensors of a state have this dtype, and the device of `like`.

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
    beside(where, like, **tensors)


def beside(where: str, like: Tensor, /, **tensors: Tensor) -> None:
    """Raise unless the tensors are on the device of `like`, the first sequence of a call.

    Raises:
        DtypeError: another device.

    >>> beside("demo", torch.zeros(1), g=torch.zeros(1, device="meta"))
    Traceback (most recent call last):
    trilby.errors.DtypeError: demo: g is on meta but the sequence is on cpu; \
move it, e.g. g.to('cpu')
    """
    for name, tensor in tensors.items():
        if tensor.device != like.device:
            raise DtypeError(
                f"{where}: {name} is on {tensor.device} but the sequence is on {like.device}; "
                f"move it, e.g. {name}.to('{like.device}')"
            )


def chunk_size(where: str, size: object) -> None:
    """Raise a ShapeError unless a chunk has a whole number of positions, at least one.

    >>> chunk_size("mean.chunk", 64)
    """
    if not isinstance(size, int) or size < 1:
        raise ShapeError(
            f"{where}: size is {size!r}, expected a whole number of positions, at least 1"
        )


def groups(where: str, kind: str, /, **heads: int) -> tuple[int, int]:
    """The number of heads of a call, and the number of groups in which some arguments share them.

    Args:
        where: the call as the user knows it, quoted in the error.
        kind: what is shared, for the error, "heads" or "channels".
        **heads: argument -> its number of heads: H, or one for each of G groups of H / G
            neighbouring heads. G is the same for all arguments and divides H.

    Returns:
        (H, G); G is H where nothing is shared.

    Raises:
        ShapeError: two numbers of groups in one call, or one that does not divide the heads.

    >>> groups("demo", "heads", q=6, k=2)
    (6, 2)
    >>> groups("demo", "heads", q=6, k=4)
    Traceback (most recent call last):
    trilby.errors.ShapeError: demo: heads are q 6, k 4; expected one number for all, or two of \
which one divides the other, e.g. q 6, k 3
    """
    counts = list(heads.values())
    H, G = max(counts), min(counts)
    if any(n not in (H, G) for n in counts) or (G != H and (not G or H % G)):
        least = max(n for n in range(1, H) if H % n == 0) if H > 1 else 1
        told = ", ".join(f"{name} {n}" for name, n in heads.items())
        mended = ", ".join(f"{name} {H if n == H else least}" for name, n in heads.items())
        raise ShapeError(
            f"{where}: {kind} are {told}; expected one number for all, or two of which one divides "
            f"the other, e.g. {mended}"
        )
    return H, G


def begins(where: str, documents: Tensor, like: Tensor) -> Tensor:
    """Where a document of a packed row begins after another one.

    Args:
        documents: [B, T] int64 or int32 ids that never decrease along a row; of checked shape.
        like: a sequence of the same call.

    Returns:
        [B, T] bool, false at position 0.

    Raises:
        DtypeError: not integers, or on another device than the sequence.
        DocumentError: an id that is less than the one before it.

    >>> begins("demo", torch.tensor([[3, 3, 7]]), torch.zeros(1, 3, 1)).tolist()
    [[False, False, True]]
    """
    if documents.dtype not in (torch.int64, torch.int32):
        raise DtypeError(
            f"{where}: documents is {_short(documents.dtype)}, expected int64 or int32; "
            "number the documents of a row 0, 1, 2, ..."
        )
    exactly(where, documents.dtype, like, documents=documents)
    changes = documents[:, 1:] != documents[:, :-1]  # [B, T - 1]
    if readable(documents):
        back = documents[:, 1:] < documents[:, :-1]
        if bool(back.any()):
            b, t = back.nonzero()[0].tolist()
            raise DocumentError(
                f"{where}: documents falls from {int(documents[b, t])} to "
                f"{int(documents[b, t + 1])} at [{b}, {t + 1}]; ids never decrease along a row, "
                "sort the documents or number them anew"
            )
    return torch.cat([torch.zeros_like(documents[:, :1], dtype=torch.bool), changes], 1)


def unmixed(x: Tensor) -> AbstractContextManager[object]:
    """A context without autocast, where products of float32 stay float32.

    >>> with torch.autocast("cpu", dtype=torch.bfloat16), unmixed(torch.zeros(1)):
    ...     (torch.zeros(1, 1) @ torch.zeros(1, 1)).dtype
    torch.float32
    """
    kind = x.device.type
    known = kind in _AUTOCAST
    available = _AUTOCAST[kind] if known else torch.amp.is_autocast_available(kind)
    if available and torch.is_autocast_enabled(kind):
        return torch.autocast(kind, enabled=False)
    return nullcontext()


@contextmanager
def value_checks() -> Iterator[None]:
    """While this context is open, calls look at values on every device, as they do on a CPU.

    A call checks ids of documents, the counts of a state and the like by their values. On a GPU a
    look at a value waits until the GPU has done all its work, so a call does it there only in this
    context. Shapes, dtypes and devices are checked always. It holds for the current thread or task.

    >>> with trilby.value_checks():
    ...     y, state = trilby.mean(torch.ones(1, 2, 1), documents=torch.tensor([[0, 1]]))
    """
    before = _asked.set(True)
    try:
        yield
    finally:
        _asked.reset(before)


def readable(*tensors: Tensor) -> bool:
    """Whether a call may look at values: not while compiling, under vmap, or of a fake tensor.

    On another device than a CPU only inside `value_checks`.

    >>> readable(torch.zeros(2)), readable(torch.zeros(2, device="meta"))
    (True, False)
    """
    if torch.compiler.is_compiling():
        return False
    for t in tensors:
        kind = t.device.type
        if kind not in READ and (kind == "meta" or not _asked.get()):
            return False
        if type(t) is not Tensor or mapped(t):
            return False
    return True


def finest(device: torch.device) -> torch.dtype:
    """float64, or float32 on a device that has no float64.

    >>> finest(torch.device("cpu")), finest(torch.device("mps"))
    (torch.float64, torch.float32)
    """
    return torch.float32 if device.type in COARSE else torch.float64


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def what(value: object) -> str:
    """The kind of a wrong value, in words, for an error.

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
