"""A module on a device without float64 is judged as a copy on the CPU."""

import copy
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_map

from ...errors import CallError
from ..copies.devices import without_float64
from ..wording import first_line
from .reading import draws


def cpu_copy(target: Any, example: Any, name: str) -> tuple[Any, Any, str]:
    """The subject and its example on the CPU, and why; both as they are where there is no reason.

    The laws of logic are judged in float64, which some devices do not have (MPS).

    Raises:
        CallError: the module cannot be copied, or a function reaches modules of its own.
    """
    own = without_float64(target)
    device = own or without_float64(None if draws(example) else example)
    if not device:
        return target, example, ""
    advice = "move the module and the example to the CPU, e.g. module.cpu()"
    if own and not isinstance(target, nn.Module):
        raise CallError(f"check: {name} uses a module on {device}, which has no float64; {advice}")
    if own:
        try:
            target = copy.deepcopy(target).cpu()
        except Exception as error:
            raise CallError(
                f"check: {name} is on {device}, which has no float64, and cannot be copied "
                f"({first_line(error)}); {advice}"
            ) from error
    return target, _moved(example), f"a copy on the CPU was judged, as {device} has no float64"


def _moved(example: Any) -> Any:
    if draws(example):
        return lambda B, T, seed: _moved(example(B, T, seed))
    return tree_map(lambda v: v.cpu() if isinstance(v, Tensor) else v, example)
