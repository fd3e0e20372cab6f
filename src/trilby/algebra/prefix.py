"""An associative scan in torch operations, with right gradients of any order for every leaf."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..errors import DtypeError, ShapeError
from ..shapes import what

Element = tuple[Tensor, ...]


def scan(combine: Callable[[Any, Any], Any], x: Any, *, dim: int = 1, reverse: bool = False) -> Any:
    """All prefixes of an associative operation: x_0, x_0 * x_1, x_0 * x_1 * x_2, ...

    Args:
        combine: `combine(earlier, later)`, called on slices along `dim`. It must be associative and
            need not be commutative. It takes and returns the type of x: a tensor or a tuple.
        x: a tensor, or a tuple of tensors of the same length along `dim`.
        dim: the axis of the scan, time by default.
        reverse: compute all suffixes instead; `earlier` is then the one closer to the end.

    Returns:
        The type of x, with the same shapes.

    Raises:
        DtypeError: x is not a tensor or a tuple of them. ShapeError: lengths that differ, an axis
            that is not there, or a `combine` that changes the number of leaves or their shapes.

    Cost: O(T) combinations in O(log T) steps, memory O(T) elements (Blelloch, 1990).
    Gradients, of any order, are those of `combine`, and reach every leaf.

    >>> scan(lambda a, b: a + b, torch.tensor([[1, 2, 3, 4]])).tolist()
    [[1, 3, 6, 10]]
    >>> def after(f, g):  # first x -> a x + b, then x -> c x + d
    ...     (a, b), (c, d) = f, g
    ...     return c * a, c * b + d
    >>> a, b = torch.full((3,), 0.5), torch.ones(3)
    >>> scan(after, (a, b), dim=0)[1].tolist()  # h = h / 2 + 1 from h = 0
    [1.0, 1.5, 1.75]
    """
    leaves = x if isinstance(x, tuple) else (x,)
    for leaf in leaves:
        if not isinstance(leaf, Tensor):
            raise DtypeError(f"scan: x holds {what(leaf)}, expected tensors; convert it first")
        if not -leaf.ndim <= dim < leaf.ndim:
            raise ShapeError(f"scan: x is {list(leaf.shape)}, which has no axis {dim}")
    dims = [dim % leaf.ndim for leaf in leaves]
    lengths = [leaf.shape[d] for leaf, d in zip(leaves, dims, strict=True)]
    if len(set(lengths)) != 1:
        raise ShapeError(f"scan: the leaves of x have lengths {lengths} along {dim}, expected one")

    def join(earlier: Element, later: Element) -> Element:
        one, other = (earlier, later) if isinstance(x, tuple) else (earlier[0], later[0])
        joined = combine(one, other)
        return joined if isinstance(x, tuple) else (joined,)

    if reverse:
        leaves = _flipped(leaves, dims)
    found = _scan(join, leaves, dims)
    found = _flipped(found, dims) if reverse else found
    if not isinstance(x, tuple):
        return found[0]
    return type(x)(*found) if hasattr(x, "_fields") else found


def _scan(join: Callable[[Element, Element], Element], x: Element, dims: list[int]) -> Element:
    """Join pairs, scan the half to get the odd prefixes, join once more to get the even ones."""
    T = x[0].shape[dims[0]]
    if T < 2:
        return x
    pairs = join(_every(x, dims, 0, T - 1), _every(x, dims, 1, T))
    if not isinstance(pairs, tuple) or len(pairs) != len(x):
        raise ShapeError(f"scan: combine returned {what(pairs)}, expected {len(x)} leaves")
    for leaf, pair, d in zip(x, pairs, dims, strict=True):
        if not isinstance(pair, Tensor) or pair.shape != (
            *leaf.shape[:d],
            T // 2,
            *leaf.shape[d + 1 :],
        ):
            raise ShapeError(
                f"scan: combine made {getattr(pair, 'shape', what(pair))} of two slices of "
                f"{leaf.shape}; it must keep the shapes of the leaves, so expand them first"
            )
    odd = _scan(join, pairs, dims)
    first = tuple(leaf.narrow(d, 0, 1) for leaf, d in zip(x, dims, strict=True))
    if T == 2:
        return _cat(first, odd, dims)
    before = tuple(o.narrow(d, 0, (T - 1) // 2) for o, d in zip(odd, dims, strict=True))
    even = _cat(first, join(before, _every(x, dims, 2, T)), dims)
    return tuple(_woven(e, o, d) for e, o, d in zip(even, odd, dims, strict=True))


def _every(x: Element, dims: list[int], start: int, stop: int) -> Element:
    """Every second slice."""
    found = []
    for leaf, d in zip(x, dims, strict=True):
        way = [slice(None)] * d + [slice(start, stop, 2)]
        found.append(leaf[tuple(way)])
    return tuple(found)


def _cat(one: Element, other: Element, dims: list[int]) -> Element:
    return tuple(torch.cat(pair, d) for *pair, d in zip(one, other, dims, strict=True))


def _woven(even: Tensor, odd: Tensor, dim: int) -> Tensor:
    """Interleave: even_0, odd_0, even_1, odd_1 ...; even may have one more."""
    n = odd.shape[dim]
    woven = torch.stack([even.narrow(dim, 0, n), odd], dim + 1).flatten(dim, dim + 1)
    return torch.cat([woven, even.narrow(dim, n, even.shape[dim] - n)], dim)


def _flipped(x: Element, dims: list[int]) -> Element:
    return tuple(leaf.flip(d) for leaf, d in zip(x, dims, strict=True))
