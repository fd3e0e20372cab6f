"""A user's file under `mypy --strict`: right calls pass, wrong calls are reported."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import trilby

ROOT = Path(__file__).parents[2]
USER = """\
import torch
import trilby

x = torch.zeros(2, 7, 3)
reveal_type(trilby.mean(x))  # fallback=trilby.mixers.mean.State
y, state = trilby.mean(x, None, torch.zeros(2, 7, dtype=torch.int64))
z, state = trilby.mean(x, state, form="matrix")
reveal_type(trilby.mean.loop(x))  # fallback=trilby.mixers.mean.State
reveal_type(trilby.mean.chunk(x, size=3))  # fallback=trilby.mixers.mean.State
reveal_type(trilby.mean.weights(x, state).wei)  # torch._tensor.Tensor
reveal_type(trilby.decay(x, x, x, x)[1])  # torch._tensor.Tensor
reveal_type(trilby.ema(x, 0.9, adjust=True)[1].weight)  # torch._tensor.Tensor
reveal_type(trilby.ema.scan)  # (x: torch._tensor.Tensor, a: torch._tensor.Tensor | float
trilby.ema.step(x, a=0.9)
trilby.MIXERS["mean"](x)
trilby.mean(3)  # E
trilby.mean(x, documets=x)  # E
trilby.mean(x, form=3)  # E
trilby.mean.scan(x, 0.9)  # E
trilby.mean.weights()  # E
trilby.decay(x, x, x)  # E
trilby.ema(x)  # E
trilby.ema.loop(x, "0.9")  # E
trilby.ema(x, 0.9, adjust="yes")  # E
count: str = trilby.mean(x)[1].count  # E
"""


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_what_mypy_says_of_a_users_file(tmp_path):
    path = tmp_path / "user.py"
    path.write_text(USER)
    options = ["--strict", "--follow-imports=silent", "--no-pretty", "--hide-error-context"]
    cache = ["--cache-dir", str(ROOT / ".mypy_cache" / "user")]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, *cache, str(path)],
        env=os.environ | {"MYPYPATH": str(Path(trilby.__file__).parents[1])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    told = re.findall(r"user\.py:(\d+): (error|note): (.*)", done.stdout)
    assert told, done.stdout + done.stderr
    wrong = {int(line) for line, kind, _ in told if kind == "error"}
    lines = dict(enumerate(USER.splitlines(), 1))
    assert wrong == {n for n, line in lines.items() if line.endswith("# E")}, done.stdout
    shown = {int(n): text for n, _, text in told if text.startswith("Revealed type is")}
    for n, line in lines.items():
        if line.startswith("reveal_type"):
            assert line.partition("# ")[2] in shown[n], shown[n]
