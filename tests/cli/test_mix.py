"""`trilby mix` on files: results, streams joined by their state, and files after an interrupt."""

import io
import os
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.cli import refusing
from tests.cli.growing import growth

import trilby
from trilby.cli import main

MIX = [sys.executable, "-m", "trilby", "mix", "mean"]
EXACT = ["loop", "step", "fused"]  # they add one after the other, so a cut changes no bit
FORMS = [*EXACT, "matrix", "softmax", "scan", "chunk"]


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def mix(*arguments: str) -> int:
    return main(["mix", "mean", *map(str, arguments)])


def refused(capsys, *arguments: str) -> str:
    return refusing.refused(capsys, mix, *arguments)


def running_mean(x, axis):
    count = np.arange(1, x.shape[axis] + 1).reshape([-1 if i == axis else 1 for i in range(x.ndim)])
    return x.astype("float64").cumsum(axis) / count


def draw(shape, dtype="float32", seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("block", [None, 1, 3, 100])
@pytest.mark.parametrize(("shape", "axis"), [((10,), 0), ((10, 3), 0), ((4, 10, 3), 1)])
@pytest.mark.parametrize("form", FORMS)
def test_the_running_mean_of_a_file(shape, axis, form, block):
    x = draw(shape)
    np.save("x.npy", x)
    assert mix("x.npy", "-o", "y.npy", "--form", form, *(["--block", block] if block else [])) == 0
    y = np.load("y.npy")
    assert (y.shape, y.dtype) == (x.shape, x.dtype)
    np.testing.assert_allclose(y, running_mean(x, axis), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (0, 4, 2), (2, 0, 3)], ids=str)
def test_nothing_in_nothing_out(shape):
    np.save("x.npy", np.zeros(shape, "float32"))
    assert mix("x.npy", "-o", "y.npy", "--state-out", "s.safetensors") == 0
    assert np.load("y.npy").shape == shape
    state = load_file("s.safetensors")
    T = shape[1] if len(shape) == 3 else shape[0]
    assert state["count"].tolist() == [T] * (shape[0] if len(shape) == 3 else 1)


def test_bfloat16_from_file_to_file():
    x = torch.from_numpy(draw((2, 300, 3))).bfloat16()
    save_file({"x": x}, "x.safetensors")
    assert mix("x.safetensors", "-o", "y.safetensors", "--block", "7") == 0
    y = load_file("y.safetensors")["y"]
    assert y.dtype == torch.bfloat16
    expected = running_mean(x.float().numpy(), 1)
    np.testing.assert_allclose(y.float().numpy(), expected, rtol=2**-8, atol=1e-12)


def test_a_csv_through_pipes(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a,b\n2,1\n4,1\n9,\n9,1\n")))
    target = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr("sys.stdout", target)
    assert mix("-", "-o", "-", "--skip-missing") == 0
    assert target.buffer.getvalue() == b"a,b\n2.0,1.0\n3.0,1.0\n5.0,1.0\n6.0,1.0\n"
    assert "1 missing values skipped" in capsys.readouterr().err


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("cuts", [(0, 50), (1, 49, 50), (13, 17, 40, 50)], ids=str)
@pytest.mark.parametrize("axis", [0, 1])
def test_runs_joined_by_the_state_equal_one_run(form, cuts, axis):
    x = draw((50, 3) if axis == 0 else (4, 50, 3))
    np.save("x.npy", x)
    assert mix("x.npy", "-o", "whole.npy", "--form", form, "--state-out", "whole.safetensors") == 0
    parts, start, state = [], 0, []
    for stop in cuts:
        np.save("part.npy", x[start:stop] if axis == 0 else x[:, start:stop].copy())
        options = [*state, "--state-out", "s.safetensors", "--form", form, "--block", "7"]
        assert mix("part.npy", "-o", "y.npy", *options) == 0
        parts.append(np.load("y.npy"))
        start, state = stop, ["--state-in", "s.safetensors"]
    joined, whole = np.concatenate(parts, axis), np.load("whole.npy")
    one, other = load_file("s.safetensors"), load_file("whole.safetensors")
    assert torch.equal(one["count"], other["count"])
    if form in ("step", "fused"):
        np.testing.assert_array_equal(joined, whole)
        assert torch.equal(one["total"], other["total"])
    else:
        np.testing.assert_allclose(joined, whole, rtol=2e-7, atol=1e-9)
        torch.testing.assert_close(one["total"], other["total"], rtol=1e-12, atol=1e-12)


def test_a_text_goes_on_with_the_alphabet_of_its_state():
    text = "to be or not to be"
    for name, part in (("x.txt", text), ("a.txt", text[:12]), ("b.txt", text[12:])):
        with open(name, "w") as file:
            file.write(part)
    assert mix("x.txt", "-o", "x.npy") == 0
    assert mix("a.txt", "-o", "a.npy", "--state-out", "s.safetensors") == 0
    assert mix("b.txt", "-o", "b.npy", "--state-in", "s.safetensors") == 0
    joined = np.concatenate([np.load("a.npy"), np.load("b.npy")])
    np.testing.assert_array_equal(joined, np.load("x.npy"))


def test_a_state_that_does_not_fit(capsys):
    np.save("x.npy", draw((5, 3)))
    np.save("wide.npy", draw((5, 4)))
    assert mix("x.npy", "-o", "y.npy", "--state-out", "s.safetensors") == 0

    def line(path, state="s.safetensors"):
        return refused(capsys, path, "-o", "z.npy", "--state-in", state)

    assert (
        "mix: s.safetensors: its total is [1, 3] float64, wide.npy needs [1, 4] float64; continue"
    ) in line("wide.npy")
    assert "mix: none: there is no such file; check the path" in line("x.npy", "none")
    assert "is not a state file" in line("x.npy", "y.npy")
    save_file({"total": torch.zeros(1, 3)}, "t.safetensors")
    assert "is the state of no mixer, expected mean" in line("x.npy", "t.safetensors")
    save_file({"total": torch.zeros(1, 3)}, "t.safetensors", {"mixer": "mean"})
    assert "holds total, the state of mean is total, count" in line("x.npy", "t.safetensors")
    bad = dict(load_file("s.safetensors"), count=torch.tensor([-1]))
    save_file(bad, "t.safetensors", {"mixer": "mean"})
    assert "count is -1" in line("x.npy", "t.safetensors")
    for name, header in (("p.csv", "a,b"), ("q.csv", "b,a")):
        with open(name, "w") as file:
            file.write(f"{header}\n1,2\n")
    assert mix("p.csv", "-o", "y.npy", "--state-out", "s.safetensors") == 0
    assert "its columns are 'a, b', those of q.csv 'b, a'" in line("q.csv")


def test_one_file_in_two_parts(capsys):
    np.save("x.npy", draw((5, 3)))
    os.symlink("x.npy", "link.npy")
    assert "x.npy: is both IN and OUT; choose" in refused(capsys, "x.npy", "-o", "link.npy")
    both = ("x.npy", "-o", "y.npy", "--state-out")
    assert "y.npy: is both OUT and --state-out" in refused(capsys, *both, "y.npy")
    assert "x.npy: is both IN and --state-out" in refused(capsys, *both, "x.npy")


def test_wrong_names(capsys):
    np.save("x.npy", draw((5, 3)))
    assert "did you mean 'fused'" in refused(capsys, "x.npy", "-o", "y.npy", "--form", "fusd")
    assert "ends in '.txt', the kinds" in refused(capsys, "x.npy", "-o", "y.txt")
    assert "mix: none.npy: there is no such file" in refused(capsys, "none.npy", "-o", "y.npy")
    assert main(["mix", "meen", "x.npy", "-o", "y.npy"]) == 2
    assert "did you mean 'mean'" in capsys.readouterr().err


def test_an_error_late_in_the_file_leaves_the_old_output(capsys):
    with open("x.csv", "w") as file:
        file.write("a\n" + "1\n" * 1000 + "oops\n")
    with open("y.csv", "w") as file:
        file.write("old")
    line = refused(capsys, "x.csv", "-o", "y.csv", "--state-out", "s.safetensors", "--block", "10")
    assert "mix: x.csv: line 1002: column a: 'oops' is not a number" in line
    with open("y.csv") as file:
        assert file.read() == "old"


def test_not_a_number_reaches_the_future_only():
    x = draw((9, 2))
    x[4, 1] = np.nan
    np.save("x.npy", x)
    assert mix("x.npy", "-o", "y.npy") == 0
    y = np.load("y.npy")
    assert not np.isnan(y[:4]).any()
    assert np.isnan(y[4:, 1]).all()
    assert not np.isnan(y[:, 0]).any()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_stopped_in_the_middle(number):
    with open("y.csv", "w") as file:
        file.write("old")
    options = ["-", "-o", "y.csv", "--state-out", "s.safetensors", "--block", "1"]
    process = subprocess.Popen(
        [*MIX, *options], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdin.write("a\n" + "1.5\n" * 50)
    process.stdin.flush()
    end = time.monotonic() + 60
    while not any(".y.csv.trilby" in f and os.path.getsize(f) > 2 for f in os.listdir()):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(number)
    process.stdin.close()
    process.wait(60)
    told = process.stderr.read()
    process.stderr.close()
    left = sorted(os.listdir())
    if number == signal.SIGKILL:
        assert len(left) == 3
        assert all(name.endswith(".tmp") and ".trilby-" in name for name in left[:2])
        assert left[2] == "y.csv"
    else:
        assert left == ["y.csv"]
        assert process.returncode == (130 if number == signal.SIGINT else 128 + number)
        assert "Traceback" not in told
    with open("y.csv") as file:
        assert file.read() == "old"


@pytest.mark.slow
@pytest.mark.parametrize("out", ["y.npy", "y.npz", "y.safetensors", "y.csv"])
def test_a_disk_that_fills_up(out):
    np.save("x.npy", draw(500_000))
    with open(out, "w") as file:
        file.write("old")

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    options = ["x.npy", "-o", out, "--form", "scan"]
    run = subprocess.run(
        [*MIX, *options],
        check=False,
        preexec_fn=limit,
        stderr=subprocess.PIPE,
        text=True,
        timeout=100,
    )
    assert run.returncode == 2
    assert run.stderr.count("\n") == 1
    assert f"mix: {out}: writing stopped after" in run.stderr
    assert "(File too large); the file is unchanged; free some space and run again" in run.stderr
    assert sorted(os.listdir()) == ["x.npy", out]
    with open(out) as file:
        assert file.read() == "old"


@pytest.mark.slow
@pytest.mark.parametrize(
    "shape", [(24 << 20,), (384 << 10, 64), (750, 512, 64), (2, 3 << 19, 8)], ids=str
)
def test_memory_does_not_grow_with_the_file(shape):
    B, T, *rest = shape if len(shape) == 3 else (1, *shape)
    small = (B, T // 8, *rest) if B < T else (B // 8, T, *rest)
    np.save("x.npy", np.zeros(shape, "float32"))  # 96 MiB
    np.save("small.npy", np.zeros(small[-len(shape) :], "float32"))  # 12 MiB, three blocks
    assert growth("mean", "small.npy", "x.npy") < 21
    os.unlink("y.npy")


@pytest.mark.slow
@pytest.mark.parametrize(("out", "most"), [("y.csv", 16), ("y.parquet", 32)])
def test_memory_does_not_grow_with_the_table(out, most):
    """All numbers are 96 MiB. pyarrow's pool grows for the first dozens of row groups."""
    for name, rows in (("small", 1 << 20), ("x", 3 << 20)):
        with open(f"{name}.csv", "wb") as file:
            file.write(b"a,b,c,d\n" + b"1.5,2.25,13.5,4.125\n" * rows)
    assert growth("mean", "small.csv", "x.csv", out=out) < most
    if out == "y.parquet":
        os.rename(out, "x.parquet")
        assert mix("small.csv", "-o", "small.parquet") == 0
        assert growth("mean", "small.parquet", "x.parquet") < 16


def test_the_command_is_named_without_torch():
    code = (
        "import sys, trilby.cli.mix; "
        "sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'rich')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_reading_only_the_first_lines_is_no_error():
    np.save("x.npy", draw(200_000))
    line = " ".join([*MIX, "x.npy", "-o", "-", "--form", "scan", "| head -2"])
    run = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("c0\n")
    assert "Error" not in run.stderr


def test_the_parameters_of_a_mixer_are_options(capsys):
    x = draw((10, 2), "float64")
    np.save("x.npy", x)
    for asked, given in (
        (["--a", "0.9"], dict(a=0.9)),
        (
            ["--a=0.9,0.5", "--adjust"],
            dict(a=torch.tensor([0.9, 0.5], dtype=torch.double), adjust=True),
        ),
    ):
        options = ["-o", "y.npy", *asked, "--state-out", "s", "--block", "3"]
        assert main(["mix", "ema", "x.npy", *options]) == 0
        assert main(["mix", *options, "ema", "x.npy"]) == 0  # in any order
        y, state = trilby.ema(torch.tensor(x)[None], **given)
        np.testing.assert_allclose(np.load("y.npy"), y[0], rtol=1e-12)
        left = load_file("s")
        assert left.keys() == {"total", "weight"}
        torch.testing.assert_close(left["weight"], state.weight)
    capsys.readouterr()
    assert main(["mix", "ema", "--help"]) == 0
    assert "Of ema: a number, or C numbers as 0.9,0.8 or in a .npy file." in " ".join(
        capsys.readouterr().out.split()
    )


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ([], "ema needs --a, a number, or C numbers as 0.9,0.8 or in a .npy file; give it"),
        (["--a", "x"], "--a is 'x', expected a number, or C numbers as 0.9,0.8 or in a .npy file"),
        (["--a", "none.npy"], "--a is 'none.npy', expected a number, or C numbers as 0.9,0.8"),
        (["--a", "1.5"], "x.npy: ema.loop: a is 1.5, expected a number from 0 to 1"),
        (["--a", "0.5,0.5,0.5"], "x.npy: ema.fused: a is [3], expected [C] with C=2 (from x)"),
        (["--a", "0.5", "--b", "1"], "No such option '--b'"),
    ],
)
def test_a_wrong_parameter_is_one_line(capsys, asked, sentence):
    np.save("x.npy", draw((1, 2)))
    assert main(["mix", "ema", "x.npy", "-o", "y.npy", *asked]) == 2
    complaint = capsys.readouterr().err
    assert sentence in complaint
    assert complaint.count("\n") == 1
    assert not os.path.exists("y.npy")


def test_an_option_of_another_mixer_is_refused(capsys):
    np.save("x.npy", draw((5, 2)))
    assert main(["mix", "mean", "x.npy", "-o", "y.npy", "--a", "0.9"]) == 2
    assert "No such option '--a'" in capsys.readouterr().err
