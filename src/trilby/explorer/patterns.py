"""The plain name of a leak, from where the cells above the diagonal lie."""

from torch import Tensor

NEAR = 8  # positions ahead that still have a number in the name
NEIGHBOUR = "reads another row of the batch"
UNMASKED = "without a causal mask"
GROUPS = {  # plain name -> what goes wrong where it happens
    "one ahead": "Each output sees the next input, which is what it should predict: the loss falls "
    "to almost nothing, and the text that is generated is noise.",
    "a few ahead": "A window or a kernel reaches to the right: training looks a little too good, "
    "and generation is worse than it promised.",
    "inside a block": "Within a chunk all positions see each other, so the first ones of a chunk "
    "know the rest of it, and one token at a time gives another answer.",
    "wrap-around": "A circular convolution or a roll brings the end to the start: the first "
    "positions know the last ones.",
    "statistic over time": "A mean, a norm or a scale is taken over the whole sequence: every "
    "output knows a little of the rest, and a prompt alone gets other values than with its answer.",
    "no causal mask": "Attention sees all positions, as in an encoder: a text that grows token by "
    "token changes what its first tokens mean.",
    "later positions": "Some outputs read what comes later. Routing and ties do this for single "
    "positions, and only for some inputs.",
    "neighbour": "A row depends on the others in its batch: the same prompt gets another answer "
    "when others are served with it.",
}
STARTS = {
    "reads one position": "one ahead", "reads up to": "a few ahead",
    "reads ahead inside": "inside a block", "wraps around": "wrap-around",
    "a statistic": "statistic over time", UNMASKED: "no causal mask", NEIGHBOUR: "neighbour",
}  # fmt: skip


def group(kind: str) -> str:
    """The plain name of the group that a kind of leak belongs to.

    >>> group("reads up to 3 ahead"), group(NEIGHBOUR)
    ('a few ahead', 'neighbour')
    """
    found = (name for start, name in STARTS.items() if kind.startswith(start))
    return next(found, "later positions")


def pattern(weights: Tensor, whole: str = "a statistic over the whole time") -> str:
    """What kind of leak the upper triangle of `weights` [T, T] shows; `whole` is one in every cell.

    >>> pattern(torch.eye(4).roll(1, 1).triu(1))
    'reads one position ahead'
    >>> pattern(torch.ones(4, 4))
    'a statistic over the whole time: every position reads every later one'
    >>> pattern(torch.block_diag(torch.ones(3, 3), torch.ones(3, 3)))
    'reads ahead inside blocks of 3 positions'
    """
    T = len(weights)
    cells = weights.triu(1).nonzero()  # [N, 2]: the position that reads, the one read
    if not len(cells):
        return ""
    far = cells[:, 1] - cells[:, 0]
    if len(cells) == T * (T - 1) // 2 and T > 2:
        return f"{whole}: every position reads every later one"
    farthest = int(far.max())
    if farthest <= NEAR and 2 * farthest < T:
        block = _block(cells, T)
        if block is not None:
            return f"reads ahead inside blocks of {block} positions"
        return "reads one position ahead" if farthest == 1 else f"reads up to {farthest} ahead"
    if int(cells[:, 0].max()) < T // 4 and int(cells[:, 1].min()) >= T - T // 4:
        return "wraps around: the first positions read the last ones"
    block = _block(cells, T)
    if block is not None:
        return f"reads ahead inside blocks of {block} positions"
    return "reads later positions"


def _block(cells: Tensor, T: int) -> int | None:
    """The size of blocks outside of which nothing is read ahead, and whose corners are read."""
    for size in range(2, T // 2 + 1):
        inside = bool((cells[:, 0] // size == cells[:, 1] // size).all())
        if inside:
            corners = {(t, t + size - 1) for t in range(0, T - size + 1, size)}
            return size if corners <= {(t, s) for t, s in cells.tolist()} else None
    return None
