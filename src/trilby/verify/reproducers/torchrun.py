"""A program for `torchrun` that shows where ranks differ from one process."""

import inspect
from typing import Any

from torch import Tensor, nn

from ...card import Mixer
from ...mixers import MIXERS
from ..comparing.finding import Finding
from ..ranks.case import Case
from ..ranks.sharded import Sharded
from ..sizes import Setting
from .arguments import Unwritten
from .source import Source

FEW = 400  # numbers that are written out

HEAD = """\
# Save it as again.py, then: torchrun --nproc-per-node {world} again.py
import torch
import torch.distributed as dist
{imports}

dist.init_process_group("gloo")
rank, pieces = dist.get_rank(), {pieces}
alone = [dist.new_group([r]) for r in range(len(pieces))][rank]
here = slice(sum(pieces[:rank]), sum(pieces[: rank + 1]))
given = {{
{given}
}}
cut = {cut}  # along time


{ways}


def run(way, part, times):
    leaves = {{n: x[:, part] if n in cut else x for n, x in given.items()}}
    leaves = {{n: x.clone().requires_grad_(x.is_floating_point()) for n, x in leaves.items()}}
    found = way(leaves)
    y = found["y"]
    at = torch.arange(1.0, 1 + sum(pieces))[part].view(1, -1, *[1] * (y.ndim - 2))
    loss = (y.double() * at).sum()
    for x in (x for n, x in found.items() if n != "y" and x.requires_grad):
        loss = loss + times * (x.double() * torch.arange(1.0, 1 + x.numel()).view(x.shape)).sum()
    loss.backward()
    return found | {{f"d {{n}}": x.grad for n, x in leaves.items() if x.requires_grad}}


want, got = run(one, slice(None), len(pieces)), run(ranks, here, 1)
for name, x in got.items():
    own, right = name == "y" or name[2:] in cut, want[name].detach()
    x = x.detach()
    if name[:2] == "d " and not own:  # each rank has a share of it
        dist.all_reduce(x)
    right = right[:, here] if own else right
    off = (x - right).abs().max().item() if x.numel() else 0.0
    print(f"rank {{rank}}: {{name}} is off by {{off:.2g}}\\n", end="")  # in one piece
dist.destroy_process_group()
"""

OF_MIXER = """

def named(way, **more):
    def call(leaves):
        own = {n: x for n, x in leaves.items() if not n.startswith("state.")}
        state = {n[6:]: x for n, x in leaves.items() if n.startswith("state.")}
        if state:
            own["state"] = mixer.contract.state.filled(state)
        y, after = way(**own, **FIXED, **more)
        return {"y": y} | {f"state.{n}": x for n, x in mixer.contract.state.tensors(after).items()}

    return call


one, ranks = named(mixer.loop), named(mixer.shard)"""

OF_FUNCTION = """

def named(way, **more):
    def call(leaves):
        result = way(**leaves, **FIXED, **more)
        return {"y": result[0] if isinstance(result, tuple) else result}

    return call


one, ranks = named(ONE), named(MANY)"""


def torchrun(
    judged: Sharded, subject: Any, reference: Any, setting: Setting, found: Finding
) -> str:
    """The program, for the case that was found.

    Raises:
        Unwritten: the subject cannot be imported, or it takes more than a few tensors by name.
    """
    case = next(c for told, c in judged.cases(setting) if told[2:] == found.witness.start)
    source = Source()
    if isinstance(subject, Mixer):
        lines, ways = ["import trilby", "", f"mixer = {_mixer(subject)}"], OF_MIXER
    else:
        made = judged.call is not subject
        ways = _ways(source, subject, reference, case, "()" if made else "")
        lines = source.lines
    given, fixed = _given(case)
    rows = [f"    {name!r}: {_value(x)}," for name, x in given.items()]
    cut = tuple(name for path, name in case.names.items() if path in case.cut)
    return HEAD.format(
        world=case.world, imports="\n".join(lines), pieces=case.pieces, given="\n".join(rows),
        cut=cut, ways=(ways if fixed else ways.replace(" **FIXED,", "")).strip("\n").replace(
            "FIXED", repr(fixed)
        ),
    )  # fmt: skip


def _mixer(mixer: Mixer[..., Any]) -> str:
    """Python that has the mixer again."""
    if MIXERS.get(mixer.name) is mixer:
        return f"trilby.{mixer.name}"
    return f"...  # fill in the mixer {mixer.name}"


def _ways(source: Source, subject: Any, reference: Any, case: Case, made: str) -> str:
    """The lines that name the two functions; `made` is what makes the subject of what was given."""
    many = source.expression(subject) + made
    if isinstance(case.way, nn.Module):
        many += f".to({next(case.way.parameters()).dtype})"
    one, alone = many, f"{case.group}=alone" if case.group else ""
    if reference is not None:
        one, alone = source.expression(reference), ""
    elif not case.group:
        raise Unwritten(f"a call of {many} in one process, beside ranks,")
    given = f"{one}, {alone}" if alone else one
    group = f", {case.group}=dist.group.WORLD" if case.group else ""
    return OF_FUNCTION.replace("ONE", given).replace("MANY", f"{many}{group}")


def _given(case: Case) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tensors of a call by name, and the rest of its keywords."""
    tensors, rest = dict[str, Any](), dict[str, Any]()
    takes = [*inspect.signature(case.way).parameters]
    named = {**dict(zip(takes, case.args, strict=False)), **case.kwargs}
    for name, value in named.items():
        if isinstance(value, Tensor):
            tensors[name] = value
        elif name != "state":
            rest[name] = value
        elif value is not None:
            inside = {p: n for p, n in case.names.items() if p[0] == name}
            tensors |= {n: value[p[1]] if len(p) > 1 else value for p, n in inside.items()}
    return tensors, rest


def _value(x: Tensor) -> str:
    if x.numel() > FEW:
        raise Unwritten(f"a tensor of {x.numel()} numbers")
    return f"torch.tensor({x.tolist()!r}, dtype={x.dtype}).reshape({list(x.shape)})"
