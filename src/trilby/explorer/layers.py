"""The layers of a model of transformers as exact triangles, from the model's own tensors."""

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import CallError
from .choosing import Chosen, Part, chosen
from .models import Model
from .patterns import UNMASKED, pattern
from .triangle import Head, Leak, Subject, Triangle
from .unfolding import ONE

if TYPE_CHECKING:
    from ..transformers.recording import Call, Recording

QUIET = ("causal_conv1d_fn",)  # shown where a layer calls nothing else


def layers(given: Model, ids: Tensor, layer: Chosen, head: Chosen) -> Subject:
    """The weights of heads of its layers; each is checked against what its function gave.

    Args:
        given: the model.
        ids: [1, T] what it reads.
        layer, head: which are shown; None is as many as fit.

    Raises:
        CallError: it refuses the ids, or none of its layers calls a function that can be unfolded.

    Cost: one forward, and for each head that of the mixer's `weights`.
    """
    recording = _heard(given, ids)
    T = ids.shape[1]
    parts = _parts(recording, T)
    if not parts:
        raise CallError(_unknown(given, recording))
    some = chosen(parts, T, layer, head)
    triangles = tuple(each for part, heads in some for each in _triangles(part, heads, parts))
    checked = "; no recurrence reads ahead, and its weights give what it gives"
    soft = sum(1 for one in triangles if one.head and one.head.kind == "attention")
    return Subject(
        given.name,
        given.python,
        triangles,
        leaks=tuple(_leaks(given, triangles)),
        tried=f"{soft} of the {len(triangles)} triangles are of attention: their weights above the "
        f"diagonal were computed with the model's own mask{checked}",
        notes=tuple(_notes(some, parts, recording)),
    )


def _heard(given: Model, ids: Tensor) -> "Recording":
    from ..transformers.recording import recorded

    model = given.model
    takes = inspect.signature(model.forward).parameters
    how = {n: v for n, v in {"use_cache": False, "logits_to_keep": 1}.items() if n in takes}
    device = next((p.device for p in model.parameters()), ids.device)
    try:
        return recorded(model, lambda: model(input_ids=ids.to(device), **how))
    except Exception as error:
        limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        more = f"; its configuration has {limit} positions" if limit else ""
        told = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise CallError(
            f"explore: {given.name} does not take ids {list(ids.shape)}, it raises "
            f"{told:.160}{more}"
        ) from error


def _parts(recording: "Recording", T: int) -> list[Part]:
    """The calls over T positions by layer, function and place; convolutions only where alone."""
    from ..transformers.triangles import KINDS, triangle

    found: dict[tuple[int, str, str], list[Call]] = {}
    for call in recording.calls:
        if triangle(call) and KINDS[call.function].length(call) == T:
            found.setdefault((call.layer, call.function, call.path), []).append(call)
    busy = {layer for layer, function, _ in found if function not in QUIET}
    return [
        Part(calls, KINDS[function], path)
        for (layer, function, path), calls in sorted(found.items(), key=lambda one: one[0][0])
        if function not in QUIET or layer not in busy
    ]


def _unknown(given: Model, recording: "Recording") -> str:
    kinds = ", ".join(dict.fromkeys(recording.layers.values())) or "none"
    return (
        f"explore: no layer of {given.name} ({kinds}) calls a function that can be unfolded{_old()}"
        "; its influence can be measured: trilby.explore(lambda x: model(inputs_embeds=x).logits, "
        "x=model.get_input_embeddings()(ids))"
    )


def _old() -> str:
    """A hint where this release of transformers is too old for recurrent layers."""
    from transformers import __version__ as release

    from ..transformers.seam import FIRST

    if tuple(map(int, release.split(".")[:2])) >= FIRST:
        return ""
    return f" in transformers {release}, where recurrent layers need {FIRST[0]}.{FIRST[1]}"


def _triangles(part: Part, heads: Sequence[int], parts: list[Part]) -> "list[Triangle]":
    from ..transformers.triangles import unfolded

    kind, found = part.kind, []
    where = _where(part, parts)
    numbers = iter(heads)
    for call, inside in part.split(heads):
        some = unfolded(call, inside)
        for wei, output, explained in zip(*some, strict=True):
            number = next(numbers)
            top = float(output.abs().max()) or 1.0
            far = float((output - explained).abs().max()) / top
            found.append(
                Triangle(
                    f"layer {part.layer} {kind.word}{where}, {kind.unit} {number}",
                    wei, False, _fact(part, wei, far), output[:, 0], explained[:, 0],
                    head=Head(part.layer, kind.word + where, kind.unit, number, part.count),
                    far=far, rounding=_rounding(call.output.dtype),
                )
            )  # fmt: skip
    return found


def _where(part: Part, parts: list[Part]) -> str:
    """What tells it from others of its kind in a layer of its number; nothing where it is alone."""
    same = [p.path for p in parts if (p.layer, p.kind.word) == (part.layer, part.kind.word)]
    if len(same) == 1:
        return ""
    ends = {path.rpartition(".")[2] for path in same}
    return f" ({part.path.rpartition('.')[2] if len(ends) == len(same) else part.path})"


def _rounding(dtype: torch.dtype) -> float:
    """How far weights and output may differ, of the largest output: half of the digits of a dtype.

    It is float32 at best, for transformers computes in it in places whatever the dtype of a model.
    """
    return float(max(torch.finfo(dtype).eps, torch.finfo(torch.float32).eps) ** 0.5)


def _fact(part: Part, wei: Tensor, far: float) -> str:
    """What the numbers are, what a row adds up to, and how well they explain the output."""
    said = [f"The exact weights of {part.path or 'the model'}, from its own tensors."]
    said.append(f"{part.kind.said}.")
    one = bool(((wei.sum(-1) - 1).abs() < ONE).all())
    said.append("Each row adds up to 1." if one else "A row need not add up to 1.")
    if bool((wei < 0).any()):
        said.append("Weights have either sign.")
    said.append(f"They give what {part.calls[0].function} gave to {far:.1e} of its largest value.")
    return " ".join([*said, "The page normalises nothing."])


def _leaks(given: Model, triangles: Sequence[Triangle]) -> list[Leak]:
    """The first head of each layer whose mask lets a position read a later one."""
    found: dict[Any, Leak] = {}
    for one in triangles:
        assert one.head is not None
        if not one.ahead or one.head[:2] in found:
            continue
        t, s = one.weights.triu(1).nonzero()[0].tolist()
        sentence = f"The mask of {one.name} lets position {t} read position {s}."
        size = float(one.weights[t, s])
        script = (
            f"import trilby\n\n# x [1, T]: the ids that the model reads\n"
            f"shown = trilby.explore({given.python}, x, "
            f"layer={one.head.layer}, head={one.head.number})\n"
            f"print(shown.row({t})[{one.name!r}][{s}])  # a weight of the future\n"
        )
        found[one.head[:2]] = Leak(
            one.name, pattern(one.weights, UNMASKED), sentence, position=t, reads=s, size=size,
            cells=one.ahead, reproducer=script,
        )  # fmt: skip
    return list(found.values())


def _notes(
    some: list[tuple[Part, list[int]]], parts: list[Part], recording: "Recording"
) -> list[str]:
    """What is left out, and how to ask for it; layers whose functions are not known."""
    shown, there = sum(len(heads) for _, heads in some), sum(part.count for part in parts)
    notes = []
    if shown < there:
        units = " and ".join(dict.fromkeys(f"{part.kind.unit}s" for part in parts))
        notes.append(
            f"{shown:,} of {there:,} {units} in {len({p.layer for p, _ in some})} of "
            f"{len({p.layer for p in parts})} layers are shown: layer= and head= choose others"
        )
    known = {part.layer for part in parts}
    other = dict.fromkeys(kind for n, kind in recording.layers.items() if n not in known)
    if other:
        count = sum(1 for n in recording.layers if n not in known)
        notes.append(
            f"{count} of {len(recording.layers)} layers call no function that is known{_old()}, so "
            f"what they mix is not shown: {', '.join(other)}"
        )
    return notes
