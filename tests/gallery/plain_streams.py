"""Streams of exhibits in plain torch: in pieces, with an edited cache, after a padded prompt."""

import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from trilby.gallery import Exhibit


def joined(exhibit: Exhibit, module: Any, what: Any, lengths: Any) -> Iterator[Tensor]:
    """Piece after piece, by the way that the label tells."""
    how, keywords = exhibit.how["carry"]
    start, state = 0, None
    if how == "by_cache":
        state = getattr(module, keywords["start"])()
    elif how == "by_methods":
        state = module.init_state(what.tensors()[0].shape[0])
    elif how == "by_module":
        restart(module, keywords["reset"], len(what.tensors()[0]))
    for length in lengths:
        piece = what.cut(start, start + length)
        start += length
        if how == "by_module":
            yield module(*piece.args)
        elif how == "by_methods" and (keywords.get("exactly") or keywords.get("keep_time")):
            x = piece.tensors()[0]
            name = keywords["chunk"] if length > 1 else "step"
            for part in x.split(keywords.get("exactly", length), 1):
                y, state = getattr(module, name)(part, state)
                yield y
        elif how == "by_methods":
            steps = []
            for t in range(length):
                y, state = module.step(piece.tensors()[0][:, t], state)
                steps.append(y)
            yield torch.stack(steps, 1)
        elif how == "by_cache":
            yield module(*piece.args, cache=state)
        elif how == "by_past":
            result = module(*piece.args, past_key_values=state, use_cache=True)
            state = result.past_key_values
            yield result.logits
        else:
            y, state = module(*piece.args, state=state)
            yield y


def restart(module: Any, reset: str, B: int) -> None:
    """Call a method with B, if it takes it."""
    way = getattr(module, reset)
    way(B) if inspect.signature(way).parameters else way()


def edited(exhibit: Exhibit, module: Any, x: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
    """A cache that is cropped, or whose rows are swapped, against one that was made so."""
    new = getattr(module, exhibit.how["carry"][1]["start"])
    edits = dict(crop=(6, x), reorder_cache=(torch.tensor([1, 0]), x.flip(0)))
    for method, (value, rows) in edits.items():
        edited, plain = new(), new()
        if hasattr(edited, method):
            module(x[:, : 10 if method == "crop" else 6], cache=edited)
            getattr(edited, method)(value)
            module(rows[:, :6], cache=plain)
            tail = rows[:, 6:].flip(1)
            yield method, module(tail, cache=edited), module(tail, cache=plain)


def continued(exhibit: Exhibit, module: Any, both: Tensor, mask: Tensor) -> list[Tensor]:
    """A prompt with pads and four more positions, one by one; and row 0 alone."""
    name, by_cache = exhibit.how["padding"], exhibit.how["carry"][0] == "by_cache"
    real, tail = mask[0].bool(), both[:, :4].clone()
    outs = []
    for x, m in ((both, mask), (both[:1, real], mask[:1, real])):
        state, more = (module.empty() if by_cache else None), m
        for piece in (x, *tail[: len(x)].split(1, 1)):
            more = m if piece is x else torch.cat([more, torch.ones(len(x), 1)], 1)
            if by_cache:
                y = module(piece, cache=state, **{name: more})
            else:
                y, state = module(piece, state=state, **{name: more})
        outs.append(y[0])
    return outs
