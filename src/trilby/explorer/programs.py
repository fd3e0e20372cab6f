"""The forms of a mixer side by side, and what its state holds after each position."""

import inspect
from typing import Any

import torch
from torch import Tensor

from ..card import Mixer
from ..errors import FormError, KernelError
from ..forms import cost
from .triangle import Form, Held

SIZES = (8, 32, 128)  # positions that every form is run at, of those that there are
DTYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16}
AGREE = 2.0**-30  # right forms differ by some 2^-50 in float64, and a wrong one by far more
NUMBERS = 16  # of each part of a state that are shown
CHANNELS = 16  # whose outputs are kept to compare two forms

Arguments = dict[str, Any]


def part(mixer: "Mixer[..., Any]", arguments: Arguments, positions: slice) -> Arguments:
    """The arguments of a call with some of the positions."""
    sequences = mixer.contract.sequences
    return {
        name: value[:, positions] if name in sequences and isinstance(value, Tensor) else value
        for name, value in arguments.items()
    }


def forms(mixer: "Mixer[..., Any]", arguments: Arguments) -> tuple[Form, ...]:
    """Every form at the sizes that there are, beside the loop in float64."""
    T = mixer.contract.length(arguments[mixer.contract.sequences[0]]) or 0
    sizes = [*(n for n in SIZES if n < T), min(T, SIZES[-1])]
    sizes = sorted({*sizes})
    return tuple(_form(mixer, name, arguments, sizes) for name in mixer.forms)


def _form(mixer: "Mixer[..., Any]", name: str, arguments: Arguments, sizes: list[int]) -> Form:
    """One form; what stays at the end is its largest size."""
    errors: dict[str, dict[str, float | None]] = {}
    outputs, apart = (), ()
    narrow: Tensor | None = None
    for n in sizes:
        short = part(mixer, arguments, slice(n))
        truth = mixer.loop(**short)[0]
        top = float(truth.abs().max()) or 1.0
        errors[str(n)] = {}
        for dtype, kind in DTYPES.items():
            y = _called(mixer, name, short, kind)
            far = None if y is None else (y - truth).abs().flatten(2).amax(2)[0] / top
            errors[str(n)][dtype] = None if far is None else float(far.max())
            if y is not None and dtype == "float64":
                outputs = tuple(y[0].flatten(1)[:, 0].tolist())
            if far is not None and dtype == "float32":
                apart = tuple(far.tolist())
            if y is not None and dtype == "float32":
                narrow = y[0].flatten(1)[:, :CHANNELS]
    code, price = _code(mixer.forms[name]), cost(mixer.forms[name])
    return Form(name, errors, outputs, apart, code, price, narrow)


def _called(
    mixer: "Mixer[..., Any]", name: str, arguments: Arguments, dtype: torch.dtype
) -> Tensor | None:
    """The output in float64; None where the form cannot run."""
    cast = {n: a.to(dtype) if isinstance(a, Tensor) else a for n, a in arguments.items()}
    try:
        y: Tensor = mixer.form(name)(**cast)[0]
    except (FormError, KernelError):
        return None
    return y.double()


def held(mixer: "Mixer[..., Any]", arguments: Arguments) -> tuple[Held, ...]:
    """What each tensor of the state holds after each position, by the loop."""
    T = mixer.contract.length(arguments[mixer.contract.sequences[0]]) or 0
    found: dict[str, tuple[list[int], list[Tensor]]] = {}
    state = None
    for t in range(min(T, SIZES[-1])):
        now = part(mixer, arguments, slice(t, t + 1))
        state = mixer.loop(**now, state=state)[1]
        for name, tensor in mixer.contract.state.tensors(state).items():
            counts, numbers = found.setdefault(name, ([], []))
            flat = tensor.detach().double().flatten()
            counts.append(len(flat))
            padded = flat.new_full((NUMBERS,), torch.nan)
            padded[: len(flat)] = flat[:NUMBERS]
            numbers.append(padded)
    return tuple(
        Held(name, tuple(counts), torch.stack(numbers)) for name, (counts, numbers) in found.items()
    )


def _code(form: Any) -> str:
    """The lines of a function without its docstring."""
    source = inspect.getsource(inspect.unwrap(form)).rstrip()
    start = source.find('"""')
    end = source.find('"""', start + 3)
    return source if start < 0 or end < 0 else source[:start].rstrip() + source[end + 3 :]
