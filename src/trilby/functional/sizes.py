"""Whether arguments have sizes that fit each other: an error, never a broadcast."""

from torch import Tensor

from ..errors import ShapeError


def fit(where: str, known: dict[str, int], **given: tuple[Tensor | None, str]) -> None:
    """Raise a ShapeError for the first tensor whose sizes are not those of its letters.

    Args:
        where: the call.
        known: the sizes of letters that are known; new letters are added.
        given: tensors, each with the letters of its axes; None fits.

    >>> fit("f", {}, x=(torch.zeros(2, 3), "B T"), y=(torch.zeros(2, 1), "B T"))
    Traceback (most recent call last):
    trilby.errors.ShapeError: f: y is [2, 1], expected [B, T] = [2, 3]; give it these sizes
    """
    for name, (tensor, letters) in given.items():
        if tensor is None:
            continue
        axes = letters.split()
        fits = tensor.ndim == len(axes) and all(
            known.setdefault(axis, size) == size
            for axis, size in zip(axes, tensor.shape, strict=True)
        )
        if not fits:
            wanted = ", ".join(str(known.get(axis, axis)) for axis in axes)
            raise ShapeError(
                f"{where}: {name} is {list(tensor.shape)}, expected [{', '.join(axes)}] = "
                f"[{wanted}]; give it these sizes"
            )


def share(where: str, few: str, heads: str, known: dict[str, int]) -> None:
    """Raise a ShapeError unless the number of some, as groups, divides the number of others.

    >>> share("f", "G", "H", {"G": 3, "H": 4})
    Traceback (most recent call last):
    trilby.errors.ShapeError: f: G is 3 and H is 4, but G must divide H; give other sizes
    """
    if known[heads] % max(known[few], 1):
        raise ShapeError(
            f"{where}: {few} is {known[few]} and {heads} is {known[heads]}, but {few} must divide "
            f"{heads}; give other sizes"
        )
