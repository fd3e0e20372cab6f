"""Laws for libraries that generate: implementations agree, `generate` equals the forward pass, and
padding is ignored when a generation continues.

The tolerance is the noise, times eight as in the verifier. The noise is the change of the logits
when every weight moves by one unit of float32 rounding.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..verify import Verdict
from ..verify.comparing.witness import NOWHERE, Witness
from ..verify.precision.allowance import FACTOR
from ..verify.precision.widened import widened
from ..verify.wording import joined_lines
from .adapter import Built

DRAWS = 3
UNIT = 2.0**-24  # of rounding in float32
PADS, FIRST, MORE = 3, 5, (3, 2, 1)  # columns of padding, tokens of the first call, of the next
PADDED = Witness(side="left", pads=PADS)


def attention(built: Built) -> Verdict:
    """The implementations of one model agree, e.g. eager and sdpa attention."""
    ids = built.example(2, 13, 1)["input_ids"]
    ways: dict[str, nn.Module] = {}
    refused = ""
    for name, make in built.ways.items():
        try:
            ways[name] = make()
        except Exception as reason:
            refused = f"{name} is refused ({_short(reason)})"
    if len(ways) < 2:
        return not_run(built, "attention", refused or "there is only one implementation")
    (first, one), *others = ways.items()
    plain = logits(one, ids)
    allowed = noise(one, lambda: logits(one, ids))
    found = [judged(built, "attention", logits(m, ids), plain, allowed) for _, m in others]
    names = [f"{first} and {name}" for name, _ in others]
    return _worst(found, names, "implementations differ")


def generates(built: Built) -> Verdict:
    """Greedy `generate` gives the logits of one pass over its result; also with left padding."""
    model: Any = built.module.model
    ids = built.example(2, 9, 2)["input_ids"]
    found, names = [], []
    for pads in (0, PADS):
        mask = torch.ones(2, 9 + pads, dtype=torch.long)
        mask[:, :pads] = 0
        prompt = torch.nn.functional.pad(ids, (pads, 0), value=filler(model))
        with _quiet(), widened(model):
            wrote = model.generate(
                prompt, attention_mask=mask, max_new_tokens=6, min_new_tokens=6, do_sample=False,
                output_logits=True, return_dict_in_generate=True, pad_token_id=filler(model),
            )  # fmt: skip
        whole = wrote.sequences[:, pads:]
        plain = _after(built.module, whole)
        steps = torch.stack(list(wrote.logits), 1)[..., : plain.shape[-1]]
        allowed = noise(built.module, partial(_after, built.module, whole))
        verdict = judged(built, "generates", steps.to(plain.dtype), plain, allowed)
        found.append(replace(verdict, witness=PADDED if pads else NOWHERE))
        names.append("after left padding" if pads else "without padding")
    return _worst(found, names, "generate differs")


def continues(built: Built) -> Verdict:
    """Several tokens at once, after a prompt with left padding in one of two rows."""
    if "carry" not in built.how or "padding" not in built.how:
        return not_run(built, "continues", "it takes no mask, or has no cache")
    length = FIRST + sum(MORE)
    ids = built.example(2, length, 3)["input_ids"]
    plain = logits(built.module, ids)
    allowed = noise(built.module, lambda: logits(built.module, ids))
    found: list[Verdict] = []
    for later in ("the whole mask", "no mask"):
        try:
            got = _resumed(built, ids, later)
        except Exception as reason:
            why = f"with {later} the next call raises {_short(reason)}"
            raised = replace(PADDED, error=type(reason).__name__, message=joined_lines(reason, 200))
            found.append(
                Verdict(built.kind, "continues", "broken", "raises", sentence=why, witness=raised)
            )
            continue
        verdict = replace(judged(built, "continues", got, plain, allowed), witness=PADDED)
        if verdict:
            return _worst([verdict], [f"the next calls given {later}"], "padding")
        found.append(verdict)
    told = [v for v in found if v.kind != "raises"] or found
    return _worst(told[:1], ["several tokens at once after left padding"], "padding")


def noise(module: nn.Module, call: Callable[[], Tensor], unit: float = UNIT) -> float:
    """The largest change of a result when every weight moves by one unit of float32 rounding."""
    plain, largest = call(), 0.0
    weights = [w for w in module.parameters() if w.is_floating_point()]
    kept = [w.detach().clone() for w in weights]
    draws = torch.Generator().manual_seed(0)
    for _ in range(DRAWS):
        with torch.no_grad():
            for weight, was in zip(weights, kept, strict=True):
                sign = torch.randint(0, 2, was.shape, generator=draws).to(was) * 2 - 1
                weight.copy_(was * (1 + sign * unit))
            change = (call() - plain).abs()
            for weight, was in zip(weights, kept, strict=True):
                weight.copy_(was)
        largest = max(largest, float(change[change.isfinite()].max()) if change.numel() else 0.0)
    return largest


def _resumed(built: Built, ids: Tensor, later: str) -> Tensor:
    """Logits of the real positions of both rows; row 0 has left padding, row 1 has none."""
    length = ids.shape[1]
    mask = torch.ones(2, PADS + length, dtype=torch.long)
    mask[0, :PADS] = 0
    rows = torch.full_like(mask, filler(built.module.model))
    rows[0, PADS:], rows[1, :length] = ids[0], ids[1]
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    past, at, parts = None, 0, []
    for n in (PADS + FIRST, *MORE):
        went = built.module(
            rows[:, at : at + n],
            attention_mask=mask[:, : at + n] if at == 0 or later == "the whole mask" else None,
            past_key_values=past,
            use_cache=True,
            **({"position_ids": positions[:, at : at + n]} if built.module.counts else {}),
        )
        past, at = went.past_key_values, at + n
        parts.append(logits_of(went))
    got = torch.cat(parts, 1).detach()
    return torch.stack([got[0, PADS:], got[1, :length]])


def filler(model: nn.Module) -> int:
    """The padding token."""
    pad = getattr(model.config, "pad_token_id", None)
    return pad if isinstance(pad, int) and pad >= 0 else 0


def logits_of(went: Any) -> Tensor:
    """The logits in the result of a module."""
    return went if isinstance(went, Tensor) else went.logits


def logits(module: nn.Module, ids: Tensor) -> Tensor:
    with torch.no_grad():
        return logits_of(module(ids))


def _after(module: nn.Module, ids: Tensor) -> Tensor:
    """The logits for the tokens after the ninth one."""
    return logits(module, ids)[:, 8:-1]


def judged(built: Built, law: str, got: Tensor, want: Tensor, noise: float) -> Verdict:
    """Whether two results are equal up to rounding."""
    size = float(want.abs().max())
    allowed = FACTOR * (noise + size * torch.finfo(torch.float32).eps)
    if got.shape != want.shape:
        said = f"shapes {tuple(got.shape)} and {tuple(want.shape)}"
        return Verdict(built.kind, law, "broken", "shape", sentence=said)
    off = (got - want).abs().amax(-1).nan_to_num(nan=float("inf"))
    where = off.argmax()
    b, t = divmod(int(where), off.shape[1])
    error, place = float(off.max()), f"logits[{b}, {t}]"
    said = f"{place} off by {error:.2g} of {size:.2g}, tolerance {allowed:.1g}"
    outcome = "holds" if error <= allowed else "broken"
    return Verdict(built.kind, law, outcome, "", error, allowed, place, said)


def _worst(found: list[Verdict], names: list[str], kind: str) -> Verdict:
    """The first broken verdict, or else the one closest to its tolerance, with its name."""
    order = sorted(zip(found, names, strict=True), key=lambda pair: bool(pair[0]))
    verdict, name = order[0]
    told = f"{name}: {verdict.sentence}"
    shown = "" if verdict else verdict.kind or kind
    return replace(verdict, kind=shown, sentence=told)


def not_run(built: Built, law: str, why: str) -> Verdict:
    return Verdict(built.kind, law, "not run", sentence=why)


def _short(reason: Exception) -> str:
    return f"{type(reason).__name__}: {' '.join(str(reason).split()):.120}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the warnings of `generate` about missing arguments."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        yield
