"""Train a small model on sequences that are cut along time, with data parallel and FSDP2.

    torchrun --nproc-per-node 4 examples/long_context.py --data 2 --steps 12 --folder run

The four processes are a mesh of 2 x 2. Along "data" each has other sequences of the batch, along
"sequence" each has its own piece of time, and the parameters are divided between the pieces. The
loss of every step is that of one process: equal at rounding in float64. Stop it, and start it
again on another number of processes: it continues from the last checkpoint, to the same losses.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard

import trilby

WORDS, WIDTH, HEADS = 16, 32, 2
BATCH, LENGTH, EVERY = 4, 96, 4
"""Sequences in a batch, positions of each, and steps from one checkpoint to the next."""


class Layer(nn.Module):
    """A short convolution, a mixer, and a multilayer perceptron. It knows nothing of processes."""

    def __init__(self, mixer: str) -> None:
        super().__init__()
        self.mixer = mixer
        self.norm, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.kernel = nn.Parameter(torch.randn(WIDTH, 4) / 2)
        self.inward = nn.Linear(WIDTH, 3 * WIDTH + 2 * HEADS)
        self.outward = nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:  # [B, T, C], here T is that of the piece
        u, _ = trilby.conv(self.norm(x), self.kernel, silu=True)
        q, k, v, rate, gate = self.inward(u).split([WIDTH] * 3 + [HEADS] * 2, -1)
        q, k, v = (t.unflatten(-1, (HEADS, -1)) for t in (q, k, v))  # [B, T, H, K]
        if self.mixer == "attention":
            y, _ = trilby.attention(q, k, v)
        elif self.mixer == "delta":
            q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
            y, _ = trilby.delta(q, k, v, rate.sigmoid(), F.logsigmoid(gate + 4))
        else:
            y, _ = trilby.decay(q / WIDTH, k, v, F.logsigmoid(gate + 4))
        x = x + self.outward(y.flatten(2))
        return x + self.down(F.silu(self.up(self.norm2(x))))


class Model(nn.Module):
    """Tokens and the ones that follow, [B, T] each -> the sum of the losses of all positions."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH)
        self.layers = nn.ModuleList(map(Layer, ("decay", "delta", "attention")))
        self.head = nn.Linear(WIDTH, WORDS)

    def forward(self, tokens: Tensor, following: Tensor) -> Tensor:
        x = self.words(tokens)
        for layer in self.layers:
            x = layer(x)
        logits = self.head(x).flatten(0, 1)  # [B T, WORDS]
        return F.cross_entropy(logits, following.flatten(), reduction="sum")


def divided(mesh: DeviceMesh, dtype: torch.dtype) -> nn.Module:
    """The model, the same on every number of processes; each holds its part of the parameters.

    On a mesh of two dimensions `fully_shard` divides parameters along the second one, and keeps
    copies along the first one.
    """
    torch.manual_seed(0)
    model = Model().to(dtype)
    for layer in model.layers:
        fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def batch(step: int, mesh: DeviceMesh) -> tuple[Tensor, Tensor]:
    """This process's sequences and its piece of them: tokens and the ones that follow, [B, T].

    Each token repeats the one of 7 or of 40 positions before, so a model has to look back. Here a
    process draws the whole batch; with data from a file it reads its own part.
    """
    rng = torch.Generator().manual_seed(step)
    tokens = torch.randint(WORDS, (BATCH, LENGTH + 1), generator=rng)
    back = torch.tensor([7, 40])[torch.randint(2, (BATCH,), generator=rng)]
    rows = torch.arange(BATCH)
    for t in range(40, LENGTH + 1):
        tokens[:, t] = tokens[rows, t - back]
    mine = tokens.chunk(mesh["data"].size())[mesh.get_local_rank("data")]
    n, r = mesh["sequence"].size(), mesh.get_local_rank("sequence")
    piece = slice(LENGTH * r // n, LENGTH * (r + 1) // n)
    return mine[:, :-1][:, piece], mine[:, 1:][:, piece]


def stepped(
    model: nn.Module, optimizer: torch.optim.Optimizer, step: int, mesh: DeviceMesh
) -> float:
    """One step; the loss is the mean over all positions of the whole batch."""
    tokens, following = batch(step, mesh)
    with trilby.sharded(
        mesh, dim="sequence", slots=0
    ):  # no step continues from the keys of another
        loss = model(tokens, following) / (BATCH * LENGTH)
    # The loss of the batch is the sum over all processes of their losses, and each gets its share
    # of the gradient of a parameter: the sum over the processes is the whole. FSDP takes the mean
    # over them, so the loss that goes backward is as many times as large.
    (loss * mesh.size()).backward()
    optimizer.step()
    optimizer.zero_grad()
    whole = loss.detach().clone()
    dist.all_reduce(whole)
    return whole.item()


def save(folder: Path, step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """A checkpoint has its name when all processes have written their part of it."""
    parts = folder / f"part-{step:06}"
    if not dist.get_rank():
        shutil.rmtree(parts, ignore_errors=True)  # of a run that was stopped while it wrote
    dist.barrier()
    dcp.save(_state(model, optimizer), checkpoint_id=parts)
    if not dist.get_rank():
        parts.rename(folder / f"step-{step:06}")
    dist.barrier()


def load(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """The step of the last whole checkpoint, which is read; 0 where there is none."""
    names = sorted(path.name for path in folder.glob("step-*"))
    if not names:
        return 0
    state = _state(model, optimizer)
    dcp.load(state, checkpoint_id=folder / names[-1])
    parts = dict(model_state_dict=state["model"], optim_state_dict=state["optimizer"])
    set_state_dict(model, optimizer, **parts)
    return int(names[-1].removeprefix("step-"))


def _state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, object]:
    """Where each number belongs, so that any number of processes can read it."""
    parameters, moments = get_state_dict(model, optimizer)
    return {"model": parameters, "optimizer": moments}


def train(given: argparse.Namespace) -> None:
    """Train, and print the loss of every step on the first process."""
    sizes = (given.data, dist.get_world_size() // given.data)
    mesh = init_device_mesh("cpu", sizes, mesh_dim_names=("data", "sequence"))
    model = divided(mesh, getattr(torch, given.dtype))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    given.folder.mkdir(parents=True, exist_ok=True)
    for step in range(load(given.folder, model, optimizer), given.steps):
        loss = stepped(model, optimizer, step, mesh)
        if not dist.get_rank():
            print(f"step {step} loss {loss:.17g}", flush=True)
        if (step + 1) % EVERY == 0:
            save(given.folder, step + 1, model, optimizer)


def main() -> None:
    """Read the options, and train on all processes that torchrun started."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=int, default=1, help="processes along the batch")
    options.add_argument("--steps", type=int, default=12)
    options.add_argument("--folder", type=Path, default=Path("run"), help="of checkpoints, shared")
    options.add_argument("--dtype", default="float32", choices=["float32", "float64"])
    dist.init_process_group("gloo")
    train(options.parse_args())
    dist.destroy_process_group()
    # Threads of gloo that FSDP used are still there. One that needs Python while Python ends would
    # abort the process, after all its work is done. So it ends here.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
