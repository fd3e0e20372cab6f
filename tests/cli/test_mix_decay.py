"""`trilby mix` for a mixer of several sequences, read from one .safetensors file."""

import os

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.cli import refusing
from tests.cli.growing import growth

import trilby
from trilby.cli import main

T = 50
IDS = torch.tensor([[0] * 7 + [4] * 14 + [5] * 29, [1] * 49 + [2], [3] * T])


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def mix(*arguments: str) -> int:
    return main(["mix", "decay", *map(str, arguments)])


def refused(capsys, *arguments: str) -> str:
    return refusing.refused(capsys, mix, *arguments)


def given(dtype=torch.float64, G=4):
    q, k, v, g = trilby.decay.draw(B=3, T=T, H=4, K=3, V=5, dtype=dtype)
    return {"q": q[:, :, :G], "k": k[:, :, :G], "v": v, "g": g}


def saved(path="x.safetensors", **tensors):
    save_file({name: t.contiguous() for name, t in tensors.items()}, path)
    return path


@pytest.mark.parametrize("block", [None, 1, 7, 49, 50, 100])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("form", list(trilby.decay.forms))
def test_the_mixer_of_a_file(form, packed, block, monkeypatch):
    for module in ("bundle", "sequence"):  # without --block several blocks too
        monkeypatch.setattr(f"trilby.files.{module}.BLOCK_BYTES", 8000)
    x = given() | ({"documents": IDS} if packed else {})
    options = ["--form", form, "--state-out", "s.safetensors"]
    options += ["--block", block] if block else []
    assert mix(saved(**x), "-o", "y.npy", *options) == 0
    y, state = trilby.decay(**x, form=form)
    torch.testing.assert_close(torch.tensor(np.load("y.npy")), y, rtol=1e-12, atol=1e-12)
    left = load_file("s.safetensors")
    assert left.keys() == {"state"}
    torch.testing.assert_close(left["state"], state, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("gate", [True, False])
def test_a_sequence_that_may_be_left_out(gate, capsys):
    names = list(trilby.delta.contract.sequences)[: None if gate else -1]
    given = trilby.delta.draw(B=3, T=T, H=4, K=3, V=5, dtype=torch.float64)
    x = dict(zip(names, given, strict=False))
    assert main(["mix", "delta", saved(**x), "-o", "y.npy", "--block", "7"]) == 0
    torch.testing.assert_close(torch.tensor(np.load("y.npy")), trilby.delta(**x)[0])
    del x["beta"]
    said = refusing.refused(
        capsys, lambda *a: main(["mix", "delta", *a]), saved(**x), "-o", "z.npy"
    )
    assert "give q, k, v, beta and optionally g, documents" in said


@pytest.mark.parametrize("out", ["y.npz", "y.safetensors"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_dtypes_and_groups(dtype, out):
    x = given(dtype, G=2) | {"documents": IDS.int()}
    x["g"] = x["g"].float()  # gates may stay wide beside halves
    if dtype == torch.bfloat16 and out == "y.npz":
        pytest.skip("numpy has no bfloat16")
    assert mix(saved(**x), "-o", out, "--block", "16") == 0
    y = load_file(out)["y"] if out == "y.safetensors" else torch.tensor(np.load(out)["y"])
    assert y.dtype == dtype
    torch.testing.assert_close(y, trilby.decay(**x)[0])


@pytest.mark.parametrize("cuts", [(0, 50), (1, 21, 50), (7, 8, 20, 50)], ids=str)
def test_runs_joined_by_the_state_equal_one_run(cuts):
    x = given() | {"documents": IDS}
    parts, start, state = [], 0, []
    for stop in cuts:
        saved("part.safetensors", **{name: t[:, start:stop] for name, t in x.items()})
        options = [*state, "--state-out", "s.safetensors", "--block", "4", "--form", "step"]
        assert mix("part.safetensors", "-o", "y.npy", *options) == 0
        parts.append(np.load("y.npy"))
        start, state = stop, ["--state-in", "s.safetensors"]
        if stop in (7, 21):  # here a document ended, and a run begins with no state
            first = IDS[:, stop : stop + 1] != IDS[:, stop - 1 : stop]
            left = load_file("s.safetensors")["state"]
            save_file({"state": left.masked_fill(first[..., None, None], 0)}, "s.safetensors",
                      {"mixer": "decay"})  # fmt: skip
    whole = trilby.decay(**x, form="step")[0]
    np.testing.assert_allclose(np.concatenate(parts, 1), whole, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("shape", [(0, 5), (3, 0)], ids=str)
def test_nothing_in_nothing_out(shape):
    B, size = shape
    x = dict(zip("qkvg", trilby.decay.draw(B=B, T=size, H=2, K=3, V=4), strict=True))
    assert mix(saved(**x), "-o", "y.npy", "--state-out", "s.safetensors") == 0
    assert np.load("y.npy").shape == (B, size, 2, 4)
    assert load_file("s.safetensors")["state"].shape == (B, 2, 3, 4)


def test_a_file_of_one_sequence_is_not_enough(capsys):
    needed = "q, k, v, g are needed; give one .safetensors with a tensor [B, T, ...] of each name"
    with open("x.csv", "w") as file:
        file.write("a,b\n1,2\n")
    assert refused(capsys, "x.csv", "-o", "y.npy") == (
        f"trilby: mix: x.csv: holds one sequence, and {needed}\n"
    )
    np.save("x.npy", np.zeros((2, 3)))
    assert f"mix: x.npy: holds one sequence, and {needed}" in refused(
        capsys, "x.npy", "-o", "y.npy"
    )
    assert f"mix: standard input: holds one sequence, and {needed}" in refused(
        capsys, "-", "-o", "y.npy"
    )


WRONG = [
    (lambda x: x.pop("g"), "x.safetensors: has no tensor 'g' among k, q, v; give q, k, v, g and "
     "optionally documents"),
    (lambda x: x.update(h0=x["g"].clone()),
     "x.safetensors: holds 'h0' besides q, k, v, g and optionally documents; leave it out"),
    (lambda x: x.update(k=x["k"][:, :, :3]),
     "x.safetensors: decay.fused: heads are q 4, k 3, v 4, g 4; expected one number for all"),
    (lambda x: x.update(v=x["v"][:, :9]),
     "x.safetensors: decay.fused: v is [3, 9, 4, 5], expected [B T H V] with T=50 (from q)"),
    (lambda x: x.update(q=x["q"][0]),
     "x.safetensors: decay.fused: q is [50, 4, 3], expected rank 4 [B T H K]; add the missing"),
    (lambda x: x.update(q=x["q"].float()),
     "x.safetensors: decay.fused: k is float64 but q is float32; give both one dtype"),
    (lambda x: x.update(g=x["g"][0, :, 0]),
     "x.safetensors[g]: has shape [50], expected [B, T, ...]; reshape it"),
    (lambda x: x.update(q=x["q"].long()),
     "x.safetensors[q]: holds I64, expected float64, float32, float16, bfloat16; convert it"),
    (lambda x: x.update(documents=IDS.double()),
     "x.safetensors[documents]: holds float64, expected int64, int32; convert it"),
    (lambda x: x.update(documents=IDS[:, :9]),
     "x.safetensors: decay.fused: documents is [3, 9], expected [B T] with T=50 (from q)"),
    (lambda x: x.update(documents=IDS.flip(1)),
     "x.safetensors: documents falls from 5 to 4 at [0, 29]; ids never decrease along a row"),
]  # fmt: skip


@pytest.mark.parametrize("block", [(), ("--block", "29")])
@pytest.mark.parametrize(("change", "sentence"), WRONG, ids=range(len(WRONG)))
def test_wrong_files(capsys, change, sentence, block):
    x = given()
    change(x)
    line = refused(capsys, saved(**x), "-o", "y.npy", "--state-out", "s.safetensors", *block)
    assert line.startswith(f"trilby: mix: {sentence}")


def test_wrong_options_states_and_bytes(capsys):
    path = saved(**given())
    assert "x.safetensors: --member is for one sequence, not for q, k, v, g; leave it out" in (
        refused(capsys, path, "-o", "y.npy", "--member", "q")
    )
    assert "x.safetensors: --skip-missing is for one sequence" in (
        refused(capsys, path, "-o", "y.npy", "--skip-missing")
    )
    assert "y.csv: a csv holds [T] or [T, C], this is [B, T, ...] of 4 axes; write a .npy" in (
        refused(capsys, path, "-o", "y.csv")
    )
    assert "decay: there is no form 'softmax': its weights are signed" in (
        refused(capsys, path, "-o", "y.npy", "--form", "softmax")
    )
    save_file({"state": torch.zeros(3, 4, 3, 5)}, "s.safetensors", {"mixer": "decay"})
    assert (
        "s.safetensors: its state is [3, 4, 3, 5] float32, x.safetensors needs [3, 4, 3, 5] "
        in (refused(capsys, path, "-o", "y.npy", "--state-in", "s.safetensors"))
    )
    save_file({"state": torch.zeros(1)}, "s.safetensors", {"mixer": "mean"})
    assert "s.safetensors: is the state of mean, expected decay; give a file that" in (
        refused(capsys, path, "-o", "y.npy", "--state-in", "s.safetensors")
    )
    with open(path, "r+b") as file:
        file.truncate(os.path.getsize(path) - 100)
    assert "is truncated: float64 [3, 50, 20] takes 24000 bytes" in (
        refused(capsys, path, "-o", "y.npy")
    )
    with open("z.safetensors", "wb") as file:
        file.write(b"not one")
    assert "z.safetensors: is not a whole .safetensors file; check the type" in (
        refused(capsys, "z.safetensors", "-o", "y.npy")
    )
    assert "none.safetensors: there is no such file; check the path" in (
        refused(capsys, "none.safetensors", "-o", "y.npy")
    )


def test_an_error_late_in_the_file_leaves_the_old_output(capsys):
    with open("y.npy", "w") as file:
        file.write("old")
    ids = IDS.clone()
    ids[2, -1] = 0
    line = refused(capsys, saved(**given(), documents=ids), "-o", "y.npy", "--block", "10")
    assert "documents falls from 3 to 0 at [2, 49]" in line
    with open("y.npy") as file:
        assert file.read() == "old"


@pytest.mark.slow
@pytest.mark.parametrize("form", ["fused", "scan", "chunk"])
def test_memory_does_not_grow_with_the_file(form):
    H, K = (64, 4) if form == "scan" else (8, 32)  # as many bytes in less time

    def zeros(length, path):
        x = {name: torch.zeros(1, length, H, K) for name in "qkv"}
        saved(path, **x, g=torch.zeros(1, length, H))

    length, most = (40_000, 30) if form == "scan" else (20_000, 12)  # a quarter of the growth
    zeros(length, "x.safetensors")  # 61 MiB, or 128
    zeros(5_000, "small.safetensors")  # several blocks
    assert growth("decay", "small.safetensors", "x.safetensors", "--form", form) < most
