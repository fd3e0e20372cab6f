"""How an operator of torch is made: schema, fake, kernels, gradients, forward mode and vmap.

A family of kernels states its mathematics; everything that torch wants around it is here, once.
The operators exist before the first `torch.compile` traces anything, on a machine with neither
numba nor triton. The module of a kernel is imported when the kernel first runs.
"""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from inspect import signature
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...env import no_compiler
from ...errors import CallError, KernelError
from ...torch_private import transformed

Some = tuple[Any, ...]
DISPATCH = {
    "CPU": "cpu",
    "CUDA": "cuda",
    "MPS": "mps",
    "XPU": "xpu",
    "PrivateUse1": "privateuseone",
}
"""torch's dispatch key of a kernel -> the type of device whose tensors it takes."""
TYPES = ("Tensor", "Tensor?", "int", "SymInt", "float", "bool")
"""What an argument may be. Only a `Tensor` or a `Tensor?` has a gradient."""


class Schema(NamedTuple):
    """A schema of torch, read: `"name(Tensor x, Tensor? first=None) -> (Tensor, Tensor)"`."""

    space: str  # "trilby", unless the schema says "other::name(...)"
    name: str
    arguments: tuple[str, ...]
    tensors: tuple[bool, ...]  # which arguments are tensors
    results: int  # how many tensors come back
    text: str  # without the space


class Operator:
    """One operator of torch. A call of it works in eager mode, under autograd, under `torch.func`,
    in forward mode, under `torch.compile` and `torch.export`, and on fake and meta tensors.

    Args:
        schema: `"name(Tensor x, Tensor? first=None, float scale=1.0) -> (Tensor, Tensor)"`.
        fake: `fake(*arguments)` gives empty results of the right shape, dtype and device.
        kernels: dispatch key -> a module, relative to this package, which has a function called
            what the operator is called. It is imported when it first runs.
        gradient: `gradient(inputs, seeds)` gives one gradient for each argument, None where there
            is none; `seeds` are the gradients of the results. For gradients of a higher order it
            calls differentiable operators.
        keeps: whether the gradient takes the results too: `gradient(inputs, seeds, results)`. Those
            after the first are then for the gradient alone, and have none themselves.
        tangent: `tangent(inputs, tangents)` gives what the results move by; a tangent is None where
            its argument has none. None: forward mode raises.
        batched: `batched(operator, N, dims, arguments)` gives the results of N calls at once, and
            the axis of N in each; `dims` has the axis of N in each argument, or None.

    Raises:
        CallError: the schema, a key of `kernels` or the arguments of `fake` are wrong.

    >>> Operator("half(Tensor x)", fake=torch.empty_like, kernels={}, gradient=None)
    Traceback (most recent call last):
    trilby.errors.CallError: Operator: schema is 'half(Tensor x)', expected \
'name(Tensor x, ...) -> (Tensor, ...)'
    """

    def __init__(
        self, schema: str, *, fake: Callable[..., Any], kernels: Mapping[str, str],
        gradient: Callable[..., Sequence[Any]] | None,
        tangent: Callable[[Some, Some], Any] | None = None,
        batched: Callable[..., Any] | None = None, keeps: bool = False,
    ) -> None:  # fmt: skip
        said = read(schema)
        _fits(said, fake, kernels)
        self.schema, self.devices = said, tuple(DISPATCH[key] for key in kernels)
        self.forward_mode, self.keeps = tangent is not None, keeps
        self._library = torch.library.Library(said.space, "FRAGMENT")  # lives as long as this does
        self._library.define(said.text)
        full = f"{said.space}::{said.name}"
        torch.library.register_fake(full, _exportable(said.name, fake), lib=self._library)
        for key, module in kernels.items():
            self._library.impl(said.name, _launch(said.name, module), key)
        self.plain = getattr(getattr(torch.ops, said.space), said.name).default
        derived = _derivatives(self, gradient, tangent, batched or by_batch)
        function: Any = type(f"{said.name}_function", (torch.autograd.Function,), derived)
        self._function = function
        torch.library.register_autograd(
            full, function.backward, setup_context=_keep(self, False), lib=self._library
        )

    def __call__(self, *arguments: Any) -> Any:
        """Call the operator. Under torch.func and in forward mode torch knows no gradients of an
        operator, so there the call goes through a `torch.autograd.Function`.
        """
        if torch.compiler.is_compiling() or not transformed():
            return self.plain(*arguments)
        return self._function.apply(*arguments)

    def __repr__(self) -> str:
        return f"<operator {self.schema.space}::{self.schema.text} on {' '.join(self.devices)}>"


def read(schema: str) -> Schema:
    """Read a schema, or say in one line what is wrong with it.

    >>> read("f(Tensor x, float scale=1.0) -> Tensor").arguments
    ('x', 'scale')
    """
    found = re.fullmatch(r"(?:(\w+)::)?((\w+)\((.*)\) -> (.+))", schema)
    if not found:
        raise CallError(
            f"Operator: schema is {schema!r}, expected 'name(Tensor x, ...) -> (Tensor, ...)'"
        )
    space, text, name, inside, back = found.groups()
    pairs = [part.partition("=")[0].split() for part in inside.split(",")]
    for part, pair in zip(inside.split(","), pairs, strict=True):
        if len(pair) != 2 or pair[0] not in TYPES or not pair[1].isidentifier():
            raise CallError(
                f"Operator: schema of {name} has the argument {part.strip()!r}, expected a type "
                f"and a name, e.g. 'Tensor x'; types are {', '.join(TYPES)}"
            )
    results = re.sub(r"[()\s]", "", back).split(",")
    if set(results) != {"Tensor"} or (len(results) > 1) != back.startswith("("):
        raise CallError(
            f"Operator: schema of {name} returns {back!r}, expected 'Tensor' or '(Tensor, Tensor)'"
        )
    kinds, names = zip(*pairs, strict=True)
    tensors = tuple(kind.startswith("Tensor") for kind in kinds)
    return Schema(space or "trilby", name, names, tensors, len(results), text)


def by_batch(operator: Callable[..., Any], N: int, dims: Some, arguments: Some) -> Any:
    """vmap: the mapped axis becomes part of the batch, the first axis of every tensor."""
    spread = [
        a if not isinstance(a, Tensor) else a.expand(N, *a.shape) if d is None else a.movedim(d, 0)
        for a, d in zip(arguments, dims, strict=True)
    ]  # [N, B, ...]
    B = next(a for a in spread if isinstance(a, Tensor)).shape[1]
    folded = [a.reshape(N * B, *a.shape[2:]) if isinstance(a, Tensor) else a for a in spread]
    found = operator(*folded)
    if isinstance(found, Tensor):
        return found.unflatten(0, (N, B)), 0
    return tuple(x.unflatten(0, (N, B)) for x in found), (0,) * len(found)


def one_by_one(operator: Callable[..., Any], N: int, dims: Some, arguments: Some) -> Any:
    """vmap: one call after the other, for operators with arguments that have no batch."""
    calls = [
        operator(
            *(a if d is None else a.select(d, i) for a, d in zip(arguments, dims, strict=True))
        )
        for i in range(N)
    ]
    if isinstance(calls[0], Tensor):
        return torch.stack(calls), 0
    found = tuple(torch.stack(each) for each in zip(*calls, strict=True))
    return found, (0,) * len(found)


def through(function: Callable[..., Some]) -> Callable[[Some, Some], Some]:
    """The gradient of what differentiable operations compute: `function(*inputs)`."""

    def gradient(inputs: Some, seeds: Some) -> Some:
        graph = torch.is_grad_enabled()
        places = [
            i for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.is_floating_point()
        ]
        given = list(inputs)
        with torch.enable_grad():
            for i in places:
                x = given[i]
                given[i] = x if graph and x.requires_grad else x.detach().requires_grad_()
            found = torch.autograd.grad(
                function(*given), [given[i] for i in places], seeds,
                allow_unused=True, create_graph=graph,
            )  # fmt: skip
        every: list[Any] = [None] * len(given)
        for i, x in zip(places, found, strict=True):
            every[i] = x
        return tuple(every)

    return gradient


def _fits(said: Schema, fake: Callable[..., Any], kernels: Mapping[str, str]) -> None:
    """Raise a CallError where `fake` or `kernels` do not belong to the schema."""
    try:
        takes = signature(fake)
    except ValueError:
        takes = None  # a function of torch's own, written in C++, does not say what it takes
    try:
        if takes:
            takes.bind(*said.arguments)
    except TypeError as error:
        raise CallError(
            f"Operator: fake of {said.name} does not take ({', '.join(said.arguments)}) as its "
            f"schema does: {error}"
        ) from error
    for key in kernels:
        if key not in DISPATCH:
            raise CallError(
                f"Operator: kernels of {said.name} has the key {key!r}, expected one of "
                f"{', '.join(DISPATCH)}"
            )


def _exportable(name: str, fake: Callable[..., Any]) -> Callable[..., Any]:
    """The fake, which every export calls; one to ONNX would fail later and say less."""

    def checked(*arguments: Any) -> Any:
        if torch.onnx.is_in_onnx_export():
            raise KernelError(f"{name}: ONNX has no such operator; take another form than fused")
        return fake(*arguments)

    return checked


def _launch(name: str, module: str) -> Callable[..., Any]:
    """A kernel that is imported when it first runs."""

    @cache
    def kernels() -> Any:
        if why := no_compiler():
            raise KernelError(f"{name}: {why}, or take another form than fused")
        try:
            found = import_module(module, __package__)
        except ImportError as error:
            if "numba" in sys.modules:  # a fault of ours
                raise
            raise KernelError(  # a numba that does not fit the numpy here, say
                f"{name}: numba, which compiles it, cannot be imported ({error}): install one "
                "that fits, or take another form than fused"
            ) from error
        if not hasattr(found, name):
            raise KernelError(f"{name}: {found.__name__} has no function {name}; write one there")
        return found

    def launch(*arguments: Any) -> Any:
        return getattr(kernels(), name)(*arguments)

    return launch


def _keep(operator: Operator, forward: bool) -> Callable[..., None]:
    """Save the inputs for the derivatives; those that are no tensors in an attribute."""
    said, whole = operator.schema, all(operator.schema.tensors)

    def keep(ctx: Any, inputs: Some, output: Any) -> None:
        if not whole:
            ctx.others = [None if t else x for t, x in zip(said.tensors, inputs, strict=True)]
            inputs = tuple(x for t, x in zip(said.tensors, inputs, strict=True) if t)
        results = output if isinstance(output, tuple) else (output,)
        ctx.save_for_backward(*inputs, *(results if operator.keeps else ()))
        if operator.keeps:
            ctx.mark_non_differentiable(*results[1:])
        if forward:
            ctx.save_for_forward(*inputs)

    return keep


def _kept(said: Schema, ctx: Any) -> Some:
    """The saved inputs of the call."""
    if all(said.tensors):
        return tuple(ctx.saved_tensors[: len(said.arguments)])
    saved = iter(ctx.saved_tensors)
    return tuple(next(saved) if t else x for t, x in zip(said.tensors, ctx.others, strict=True))


def _derivatives(
    operator: Operator, gradient: Any, tangent: Any, batched: Callable[..., Any]
) -> dict[str, Any]:
    """The static methods of the `torch.autograd.Function` of an operator."""
    said, plain = operator.schema, operator.plain

    def forward(*inputs: Any) -> Any:
        return plain(*inputs)  # torch calls this below all transforms

    def backward(ctx: Any, *seeds: Any) -> Any:
        if gradient is None:
            raise KernelError(f"{said.name}: it has no gradient; call it under torch.no_grad()")
        results = (ctx.saved_tensors[-said.results :],) if operator.keeps else ()
        return tuple(gradient(_kept(said, ctx), seeds, *results))

    def jvp(ctx: Any, *tangents: Any) -> Any:
        if tangent is None:
            raise KernelError(f"{said.name}: it has no forward mode; use reverse mode, e.g. jacrev")
        return tangent(_kept(said, ctx), tangents)

    def vmap(info: Any, dims: Some, *arguments: Any) -> Any:
        return batched(operator, info.batch_size, dims, arguments)

    methods = dict(forward=forward, backward=backward, jvp=jvp, vmap=vmap)
    methods["setup_context"] = _keep(operator, forward=True)
    return {name: staticmethod(method) for name, method in methods.items()}
