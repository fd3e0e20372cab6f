"""Functions of transformers, which nobody here wrote, in float64; how two functions are compared.

They compute in float32 whatever they are given. Inside `exact` they compute in float64, so that a
comparison needs no tolerance but that of float64.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.mixers.peers import Double

MODELS = ("qwen3_next", "kimi_linear", "mamba", "mamba2")
NARROW = {"rtol": 1e-10, "atol": 1e-10}


def module(model: str) -> Any:
    return import_module(f"transformers.models.{model}.modeling_{model}")


def theirs(model: str, name: str) -> Callable[..., Any]:
    """A function of transformers that computes in float64."""
    pytest.importorskip(f"transformers.models.{model}.modeling_{model}")
    if not hasattr(module(model), name):
        pytest.skip(f"this release of transformers has no {name}")

    def call(*given: Any, **named: Any) -> Any:
        with exact(model):
            return getattr(module(model), name)(*given, **named)

    return call


@contextmanager
def exact(model: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module(model), "torch", Double())
        patch.setattr(torch.Tensor, "float", torch.Tensor.double)
        yield


def normal(*sizes: int, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed + sum(sizes))
    return torch.randn(*sizes, generator=rng, dtype=torch.float64)


def same(
    ours: Callable[..., Any],
    other: Callable[..., Any],
    tensors: dict[str, Tensor],
    tolerance: dict[str, float] = NARROW,
) -> None:
    """Both give the same values, and the same gradient of every argument."""
    (found, slopes), (right, expected) = (_results(call, tensors) for call in (ours, other))
    assert len(found) == len(right)
    for a, b in zip(found, right, strict=True):
        torch.testing.assert_close(a, b, **tolerance)
    for name in tensors:
        torch.testing.assert_close(
            slopes[name], expected[name], **tolerance, msg=lambda m, n=name: f"gradient of {n}: {m}"
        )


def _results(
    call: Callable[..., Any], tensors: dict[str, Tensor]
) -> tuple[list[Tensor], dict[str, Tensor]]:
    leaves = {name: t.clone().requires_grad_() for name, t in tensors.items()}
    results = call(**leaves)
    results = [results] if isinstance(results, Tensor) else [t for t in results if t is not None]
    total = sum((t * normal(*t.shape, seed=7).to(t.dtype)).sum() for t in results)
    slopes = torch.autograd.grad(total, list(leaves.values()))
    return results, dict(zip(leaves, slopes, strict=True))


def layer(model: str, name: str, **sizes: Any) -> Any:
    """A layer of transformers in float64, every parameter random, in training without a cache."""
    theirs(model, "causal_conv1d_update")  # came with release 5, as what the layer calls
    transformers = pytest.importorskip("transformers")
    config = getattr(transformers, f"{name}Config")(num_hidden_layers=1, **sizes)
    built = getattr(module(model), f"{name}Mixer")(config, 0).double()
    for i, parameter in enumerate(built.parameters()):
        parameter.data = normal(*parameter.shape, seed=i) / 2
    return built.eval()


def same_layer(built: Any, model: str, ours: Callable[[Tensor], Tensor], x: Tensor) -> None:
    """The layer and the function give the same, and the same gradients."""

    def theirs(x: Tensor) -> Tensor:
        with exact(model):
            result: Tensor = built(x)
            return result

    parameters = dict(built.named_parameters())
    found = []
    for call in (ours, theirs):
        y = call(x := x.detach().requires_grad_())
        total = (y * normal(*y.shape, seed=7)).sum()
        found.append((y, torch.autograd.grad(total, [x, *parameters.values()])))
    torch.testing.assert_close(found[0][0], found[1][0], **NARROW)
    for name, a, b in zip(["x", *parameters], found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(a, b, **NARROW, msg=lambda m, n=name: f"gradient of {n}: {m}")
