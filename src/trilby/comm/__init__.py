"""What the processes that share a sequence tell each other, on `torch.distributed`.

Every process (rank) of a group holds a contiguous piece of time. `Piece` is one call of a mixer on
such a piece: it makes sure that all ranks make the same call, finds out where documents begin,
brings the state to where each piece begins, and passes on the state after the last one. All of it
is differentiable.
"""

from .faults import shared
from .piece import Piece
from .ranks import Traffic, counted

__all__ = ["Piece", "Traffic", "counted", "shared"]
