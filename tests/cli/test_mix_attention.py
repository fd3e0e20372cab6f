"""`trilby mix` for a mixer whose state grows from block to block."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.cli import refusing

import trilby
from trilby.cli import main

T = 30
IDS = torch.tensor([[0] * 7 + [4] * 14 + [5] * 9, [1] * 29 + [2], [3] * T])


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def given(start=0, end=T):
    q, k, v = trilby.attention.draw(B=3, T=T, H=4, K=3, V=5, dtype=torch.float64)
    return {"q": q[:, start:end], "k": k[:, start:end, :2], "v": v[:, start:end, :2]}


def mix(x, *arguments):
    save_file({name: t.contiguous() for name, t in x.items()}, "x.safetensors")
    assert main(["mix", "attention", "x.safetensors", "-o", "y.npy", *map(str, arguments)]) == 0
    return torch.tensor(np.load("y.npy"))


@pytest.mark.parametrize("options", [{}, {"window": 4, "cap": 2.0, "scale": 0.5}])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("block", [1, 7, 100])
def test_blocks_are_joined_by_the_state(block, packed, options):
    x = given() | ({"documents": IDS} if packed else {})
    words = [word for name, n in options.items() for word in (f"--{name}", n)]
    y = mix(x, "--block", block, "--state-out", "s.safetensors", *words)
    right, after = trilby.attention(**x, **options)
    torch.testing.assert_close(y, right, rtol=1e-12, atol=1e-12)
    left, after = load_file("s.safetensors"), after._asdict()
    assert torch.equal(left["count"], after["count"])
    for name in ("keys", "values"):
        n = left[name].shape[1]  # a document that began with a block left its past behind
        assert not after[name][:, n:].any()
        torch.testing.assert_close(left[name], after[name][:, :n], rtol=0, atol=0)


@pytest.mark.parametrize("cut", [0, 1, 12])
def test_a_run_continues(cut):
    parts = [mix(given(0, cut), "--block", 5, "--state-out", "s.safetensors")]
    parts.append(mix(given(cut, T), "--block", 5, "--state-in", "s.safetensors"))
    right = trilby.attention(**given())[0]
    torch.testing.assert_close(torch.cat(parts, 1), right, rtol=1e-12, atol=1e-12)


def test_a_state_of_other_heads(capsys):
    mix(given(), "--state-out", "s.safetensors")
    wide = given() | {"k": given()["q"]}
    save_file({name: t.contiguous() for name, t in wide.items()}, "x.safetensors")
    words = ["x.safetensors", "-o", "z.npy", "--state-in", "s.safetensors"]
    said = refusing.refused(capsys, lambda *a: main(["mix", "attention", *a]), *words)
    assert "its keys is [3, 30, 2, 3] float64, x.safetensors needs [3, 30, 4, 3] float64" in said
