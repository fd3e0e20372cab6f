"""Trilby verifies that sequence models are causal and correct, and has fast causal mixers.

>>> import torch, trilby
>>> y, state = trilby.mean(torch.tensor([[[2.0], [4.0], [9.0]]]))
>>> y.flatten().tolist()
[2.0, 3.0, 5.0]
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .after_torch import after_torch

if TYPE_CHECKING:
    from . import data, streaming
    from .algebra import scan
    from .card import Mixer, Weights
    from .contract import Contract
    from .explorer import explore
    from .forms import FORMS
    from .kernels.machine.memory import memory
    from .kernels.machine.memory import release as release_memory
    from .mixers import MIXERS
    from .mixers.attention import MIXER as attention
    from .mixers.conv import MIXER as conv
    from .mixers.decay import MIXER as decay
    from .mixers.delta import MIXER as delta
    from .mixers.ema import MIXER as ema
    from .mixers.kda import MIXER as kda
    from .mixers.linear import MIXER as linear
    from .mixers.mean import MIXER as mean
    from .mixers.selective import MIXER as selective
    from .mixers.weighted import MIXER as weighted
    from .shapes import value_checks
    from .sharding import sharded
    from .verify import Report, Verdict, check, same

# What stands behind each public name. Loaded at first use: `trilby --help` must not wait for torch.
_BEHIND = {
    "Contract": ("contract", "Contract"),
    "FORMS": ("forms", "FORMS"),
    "MIXERS": ("mixers", "MIXERS"),
    "Mixer": ("card", "Mixer"),
    "Report": ("verify", "Report"),
    "Verdict": ("verify", "Verdict"),
    "Weights": ("card", "Weights"),
    "check": ("verify", "check"),
    "attention": ("mixers.attention", "MIXER"),
    "conv": ("mixers.conv", "MIXER"),
    "data": ("data", ""),
    "decay": ("mixers.decay", "MIXER"),
    "delta": ("mixers.delta", "MIXER"),
    "ema": ("mixers.ema", "MIXER"),
    "explore": ("explorer", "explore"),
    "kda": ("mixers.kda", "MIXER"),
    "linear": ("mixers.linear", "MIXER"),
    "mean": ("mixers.mean", "MIXER"),
    "memory": ("kernels.machine.memory", "memory"),
    "release_memory": ("kernels.machine.memory", "release"),
    "same": ("verify", "same"),
    "scan": ("algebra", "scan"),
    "selective": ("mixers.selective", "MIXER"),
    "sharded": ("sharding", "sharded"),
    "streaming": ("streaming", ""),
    "value_checks": ("shapes", "value_checks"),
    "weighted": ("mixers.weighted", "MIXER"),
}

__all__ = [
    "FORMS",
    "MIXERS",
    "Contract",
    "Mixer",
    "Report",
    "Verdict",
    "Weights",
    "attention",
    "check",
    "conv",
    "data",
    "decay",
    "delta",
    "ema",
    "explore",
    "kda",
    "linear",
    "mean",
    "memory",
    "release_memory",
    "same",
    "scan",
    "selective",
    "sharded",
    "streaming",
    "value_checks",
    "weighted",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("trilby")
    if name not in _BEHIND:
        raise AttributeError(f"module 'trilby' has no attribute {name!r}", name=name)
    module, attribute = _BEHIND[name]
    found = import_module(f".{module}", __name__)
    value = getattr(found, attribute) if attribute else found
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


# With torch come the operators, which a saved program names, and the states, which a file holds.
_WITH_TORCH = (
    "algebra",
    "card",
    "comm",
    "contract",
    "first_calls",
    "kernels",
    "mixers",
    "pooling",
    "shapes",
    "sharding",
    "state",
    "torch_private",
)


def _with_torch() -> None:
    import_module(".first_calls", __name__).called()
    import_module(".mixers", __name__)


after_torch(_with_torch, [f"{__name__}.{name}" for name in _WITH_TORCH])
