"""`trilby mix` on every rank of a group, compared with the same command in one process.

What is here runs on every rank. The first one draws the files and runs the command alone.
"""

import contextlib
import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file

from trilby.cli import main
from trilby.mixers import MIXERS

T = 53
CLOSE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2**-6}
"""Of numbers around 1: what differs at rounding, and a wrong border differs by far more."""
SAME = ("conv",)
"""Mixers of which a piece has the bits of the whole: no number is joined across a border."""


def run(words: list[str], alone: bool) -> tuple[int, str]:
    """The exit code of `trilby mix`, and what it says."""
    os.environ["WORLD_SIZE"] = "1" if alone else str(dist.get_world_size())
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            code = main(["mix", *words])
        except SystemExit as ended:
            code = ended.code
    return code, said.getvalue()


def both(words: list[str], out: str) -> tuple[list[tuple[int, str]], str, str]:
    """What each rank says; and the files that one process and all of them wrote."""
    one, every = f"one-{out}", f"every-{out}"
    if not dist.get_rank():
        assert run([w.replace("OUT", "one") for w in [*words, "-o", one]], True)[0] == 0
    dist.barrier()
    said = run([w.replace("OUT", "every") for w in [*words, "-o", every]], False)
    told = [None] * dist.get_world_size()
    dist.all_gather_object(told, said)
    dist.barrier()
    return told, one, every


def drawn(name: str, path: str, dtype: torch.dtype, rows: int) -> list[str]:
    """Write the sequences of a mixer, with documents where it reads several; its options."""
    mixer = MIXERS[name]
    given = mixer.contract.named(mixer.drawn(B=rows, T=T, C=4, seed=3, dtype=dtype))
    sequences = {n: given[n] for n in mixer.contract.sequences}
    if len(sequences) > 1:
        sequences["documents"] = torch.tensor([[0] * 20 + [3] * 9 + [4] * (T - 29)] * rows)
    words = []
    for n in mixer.contract.parameters:
        value = given.get(n)
        if isinstance(value, torch.Tensor):
            if not dist.get_rank():
                np.save(f"{path}-{n}.npy", value.numpy())
            words += [f"--{n}", f"{path}-{n}.npy"]
        elif isinstance(value, bool):
            words += [f"--{n}"] if value else []
        elif value is not None:
            words += [f"--{n}", str(value)]
    if not dist.get_rank():
        save_file({n: x.contiguous() for n, x in sequences.items()}, path)
    return words


def every_mixer(*names: str) -> Iterator[str]:
    """Values and states of each mixer, with blocks that do not divide T, and rows that fit in."""
    for name in names or MIXERS:
        for dtype, rows, block in ((torch.float64, 2, "5"), (torch.float32, 3, "1000")):
            path = f"{name}.safetensors"
            words = [name, path, *drawn(name, path, dtype, rows), "--block", block]
            words += ["--state-out", "OUT-state.safetensors"]
            told, one, many = both(words, "y.safetensors")
            if [code for code, _ in told] != [0] * len(told) or any(said for _, said in told[1:]):
                yield f"{name}: {told}"
                continue
            yield from differ(name, one, many, name in SAME)
            yield from differ(name, "one-state.safetensors", "every-state.safetensors", False)


def differ(name: str, one: str, many: str, same: bool) -> Iterator[str]:
    """What is not equal in two files, to the byte or at rounding."""
    if same and Path(one).read_bytes() != Path(many).read_bytes():
        yield f"{name}: {many} has other bytes"
    one, two = load_file(one), load_file(many)
    if name == "attention" and "keys" in one:
        one, two = _of_one_length(one, two), _of_one_length(two, one)
    for n, x in one.items():
        if x.shape != two[n].shape or x.dtype != two[n].dtype:
            yield f"{name}: {n} is {two[n].shape}"
        elif x.numel():
            off = float((x.double() - two[n].double()).abs().max())
            if not off <= CLOSE.get(x.dtype, 0) * max(1.0, float(x.double().abs().max())):
                yield f"{name}: {n} is off by {off:.2g}"


def _of_one_length(state: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> Any:
    """The slots that both have; where documents begin, blocks decide how many there are."""
    held = min(state["keys"].shape[1], other["keys"].shape[1])
    longer = {n: x for n, x in state.items() if n != "count"}
    assert not any(x[:, held:].any() for x in longer.values())
    return state | {n: x[:, :held] for n, x in longer.items()}


def tables() -> Iterator[str]:
    """Rows whose text has line ends and quotes, blank lines, all kinds of line ends, few rows."""
    rng = np.random.default_rng(0)
    for n, end, mark in ((400, "\n", '"'), (301, "\r\n", ""), (2, "\n", '"'), (0, "\n", "")):
        rows = [f"{mark}d{i}{(chr(10) + 'x,') * bool(mark)}{mark},{i % 7},{rng.integers(9)}" +
                end * (i % 50 == 3) for i in range(n)]  # fmt: skip
        text = end.join(["day,a,b", *rows]) + end * (n % 2)
        if not dist.get_rank():
            Path("x.csv").write_bytes(text.encode())
        for out in ("y.csv", "y.tsv", "y.npy"):
            keep = ["--all-but", "day"] if out == "y.npy" else ["--keep", "day"]
            told, one, many = both(["mean", "x.csv", *keep], out)
            if [code for code, _ in told] != [0] * len(told):
                yield f"{n} rows: {told}"
            elif _content(one, mark) != _content(many, mark):  # whole numbers: exact sums
                yield f"{n} rows: {out} has other bytes"
            elif "looks like an index" in told[0][1]:
                yield f"{n} rows: {told[0][1]}"


def _content(path: str, mark: str) -> object:
    """The bytes; where text needs quotes its cells, since a block decides which cells have them."""
    if not mark or path.endswith(".npy"):
        return Path(path).read_bytes()
    with open(path, newline="") as file:
        return list(csv.reader(file, delimiter="\t" if path.endswith("tsv") else ","))


def numbers() -> Iterator[str]:
    """Arrays in either order of memory, and of one axis; and what continues from a state."""
    rng = np.random.default_rng(0)
    x = rng.integers(-9, 9, (3, 40, 2)).astype("float32")
    kinds = {"x": x, "flat": x[0, :, 0], "fortran": np.asfortranarray(x[0]), "none": x[:, :0]}
    for name, array in kinds.items():
        if not dist.get_rank():
            np.save(f"{name}.npy", array)
            np.save(f"more-{name}.npy", array[..., ::-1] if array.ndim > 2 else array[::-1])
        for more in ([], ["--block", "3"]):
            state, begin = "OUT-s.safetensors", ["mean", f"{name}.npy", *more]
            told, *files = both([*begin, "--state-out", state], "y.npy")
            begin[1] = f"more-{name}.npy"
            then, *others = both([*begin, "--state-in", state, "--state-out", state], "z.npy")
            if {code for code, _ in told + then} != {0}:
                yield f"{name}: {told} {then}"
            for one, many in (files, others):
                if Path(one).read_bytes() != Path(many).read_bytes():
                    yield f"{name} {more}: {many} has other bytes"


REFUSED = {  # words -> what the first process says, alone
    ("mean", "x.npz", "-o", "y.npy"): "x.npz: several processes cannot share it, an archive has",
    ("mean", "x.npy", "-o", "y.csv.gz"): "y.csv.gz: several processes cannot share it, what is com",
    ("mean", "-", "-o", "y.csv"): "standard input or output: several processes cannot share it",
    ("mean", "x.npy", "-o", "y.parquet"): "a .parquet is written by one process",
    ("mean", "x.npy", "-o", "y.npy", "--form", "scan"): "--form is 'scan', and several processes",
    ("mean", "x.csv", "-o", "y.npy", "--skip-missing"): "--skip-missing: several processes cannot",
    ("mean", "x.csv", "-o", "y.npy", "--block", "4"): "--block is 4, and several processes share",
    ("mean", "there-is-none.npy", "-o", "y.npy"): "there is no such file",
    ("mean", "wrong.csv", "-o", "y.npy"): "wrong.csv: line 403: column a: 'one' is not a number",
    ("mean", "open.csv", "-o", "y.npy"): 'a quote " that opens here is not closed at the end of',
    ("mean", "cr.csv", "-o", "y.npy"): "cr.csv: its lines end with a carriage return alone",
    ("mean", "said.csv", "-o", "y.npy", "--comment", "#"): "cannot tell those of comments from",
    ("decay", "fall.safetensors", "-o", "y.npy"): "documents falls from 7 to 6 at [1, 9]",
    ("mean", "x.npy", "-o", "no/folder/y.npy"): "there is no folder",
}


def refused() -> Iterator[str]:
    """Every rank ends with the code of a wrong input, the first one says why, nothing is left."""
    if not dist.get_rank():
        np.save("x.npy", np.zeros((9, 2)))
        rows = [f"{i},1" for i in range(500)]
        rows[401] = "one,1"
        wrong = {"x.csv": ["1,2"], "wrong.csv": rows, "open.csv": ['1,"2'],
                 "said.csv": ["1,2", '"3",4'] * 9}  # fmt: skip
        for name, lines in wrong.items():
            Path(name).write_text("\n".join(["a,b", *lines, ""]))
        Path("cr.csv").write_bytes(b"a,b\r1,2\r3,4\r")
        given = MIXERS["decay"].contract.named(MIXERS["decay"].drawn(B=2, T=10, C=2))
        ids = torch.tensor([[7] * 10, [7] * 9 + [6]])
        save_file({n: x.contiguous() for n, x in given.items()} | {"documents": ids},
                  "fall.safetensors")  # fmt: skip
    dist.barrier()
    before = sorted(os.listdir())
    for words, wanted in REFUSED.items():
        code, said = run(list(words), False)
        first = not dist.get_rank()
        if code != 2 or (first and wanted not in said) or (said and not first):
            yield f"{words}: {code} {said!r}"
        dist.barrier()
        if sorted(os.listdir()) != before:
            yield f"{words} leaves {set(os.listdir()) - set(before)}"
        dist.barrier()


def complaints(folder: str, *names: str) -> list[str]:
    """What is wrong on this rank, of these mixers; without names of all."""
    os.chdir(folder)
    found = []
    for probe in (every_mixer(*names), tables(), numbers(), refused()):
        found += probe
        dist.barrier()
    return found
