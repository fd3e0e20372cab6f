"""`trilby mix` on tables: missing values as in pandas, kept columns, a live pipe, cheap imports."""

import importlib.resources
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from tests.cli import refusing

import trilby
from trilby.cli import main
from trilby.cli.planning import few, planned
from trilby.files import open_bundle


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def mix(*arguments: object) -> int:
    return main(["mix", *map(str, arguments)])


def gaps(rows=60, seed=0) -> pd.DataFrame:
    """Three columns with holes of their own: the first begins late, the last has none."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, 3))
    x[:4, 0] = x[5:7, 1] = x[-1, 0] = np.nan
    x[rng.random(rows) < 0.3, 1] = np.nan
    return pd.DataFrame(x, columns=["a", "b", "c"])


@pytest.mark.parametrize("block", [(), ("--block", 1), ("--block", 7)], ids=str)
@pytest.mark.parametrize("cell", ["", "NA", "nan"])
def test_missing_values_are_skipped_as_pandas_skips_them(block, cell, capsys):
    frame = gaps()
    frame.to_csv("x.csv", index=False, na_rep=cell)
    assert mix("mean", "x.csv", "-o", "y.csv", "--skip-missing", *block) == 0
    assert f"{frame.isna().sum().sum()} missing values skipped" in capsys.readouterr().err
    found = pd.read_csv("y.csv")
    pd.testing.assert_frame_equal(found, frame.expanding().mean(), rtol=1e-12)
    options = ["--adjust", "--skip-missing", *block]
    assert mix("ema", "x.csv", "-o", "y.csv", "--a", "0.9,0.5,0.2", *options) == 0
    expected = {
        name: frame[name].ewm(alpha=alpha, adjust=True, ignore_na=True).mean()
        for name, alpha in zip("abc", (0.1, 0.5, 0.8), strict=True)
    }
    pd.testing.assert_frame_equal(pd.read_csv("y.csv"), pd.DataFrame(expected), rtol=1e-12)


@pytest.mark.parametrize("cuts", [(2, 60), (6, 7, 30, 60), (59, 60)], ids=str)
def test_runs_joined_by_the_state_skip_as_one_run(cuts, capsys):
    frame, parts, start, state = gaps(), [], 0, []
    options = ["--skip-missing", "--form", "step"]
    for stop in cuts:
        frame[start:stop].to_csv("part.csv", index=False)
        assert mix("mean", "part.csv", "-o", "y.csv", *options, *state, "--state-out", "s") == 0
        parts.append(pd.read_csv("y.csv"))
        start, state = stop, ["--state-in", "s"]
    frame.to_csv("x.csv", index=False)
    assert mix("mean", "x.csv", "-o", "y.csv", *options, "--state-out", "whole") == 0
    joined = pd.concat(parts, ignore_index=True)
    pd.testing.assert_frame_equal(joined, pd.read_csv("y.csv"), check_exact=True)
    one, other = load_file("s"), load_file("whole")
    assert one["count"].tolist() == other["count"].tolist() == frame.notna().sum().tolist()
    assert one.keys() == other.keys() == {"total", "count", "skip_missing.last"}
    line = refusing.refused(capsys, mix, "mean", "x.csv", "-o", "z.csv", "--all-but", "a",
                            "--state-in", "s")  # fmt: skip
    assert "s: is the state of a run with --skip-missing; pass it here too" in line


def test_real_data_with_gaps_and_dates(capsys):
    path = importlib.resources.files("trilby.data") / "co2.csv"
    assert mix("mean", path, "-o", "y.csv", "--index", "date", "--skip-missing") == 0
    assert "59 missing values skipped" in capsys.readouterr().err
    found, given = (pd.read_csv(p, dtype={"date": str}) for p in ("y.csv", str(path)))
    assert found["date"].equals(given["date"])
    np.testing.assert_allclose(found["co2"], given["co2"].expanding().mean(), rtol=1e-12)


def test_an_index_without_a_name_is_kept_and_told(capsys):
    pd.DataFrame({"a": [1.0, 3.0], "when": ["mon", "tue"]}, [5, 6]).to_csv("x.csv")
    line = refusing.refused(capsys, mix, "mean", "x.csv", "-o", "y.csv")
    assert "x.csv: line 2: column when: 'mon' is not a number; mend it, or keep the column" in line
    assert mix("mean", "x.csv", "-o", "y.csv", "--keep", "when") == 0
    assert "column 1 has no name, so it was kept and not mixed" in capsys.readouterr().err
    with open("y.csv") as file:
        assert file.read() == ",when,a\n5,mon,1.0\n6,tue,2.0\n"
    assert mix("mean", "x.csv", "-o", "y.npy", "--all-but", "when") == 0  # no place for it
    assert np.load("y.npy").tolist() == [[1], [2]]
    line = refusing.refused(capsys, mix, "mean", "x.csv", "-o", "z.npy", "--keep", "when")
    assert "mix: z.npy: holds numbers alone; write a .csv or a .parquet to keep text" in line


def test_from_a_spreadsheet_to_a_parquet(capsys):
    with open("x.csv", "w") as file:
        file.write("Tag;Wert\n01.02.;1.000,5\n02.02.;2\n")
    options = ["--index", "Tag", "--decimal", ",", "--thousands", "."]
    assert mix("mean", "x.csv", "-o", "y.parquet", *options) == 0
    assert "in y.parquet; cells are separated by ';'" in capsys.readouterr().err
    found = pd.read_parquet("y.parquet")
    assert found["Tag"].tolist() == ["01.02.", "02.02."]
    assert found["Wert"].tolist() == [1000.5, 501.25]


def test_rows_without_values_and_no_rows():
    for text in ("a,b\n", "a,b\n,\n,NA\n"):
        with open("x.csv", "w") as file:
            file.write(text)
        options = ["--skip-missing", "--state-out", "s"]
        for out in ("y.csv", "y.parquet", "y.npy"):
            assert mix("mean", "x.csv", "-o", out, *options) == 0
        assert np.isnan(np.load("y.npy")).all()
        assert len(pd.read_parquet("y.parquet")) == len(np.load("y.npy")) == text.count("\n") - 1
        assert load_file("s")["count"].tolist() == [0, 0]


def test_a_small_file_is_mixed_without_a_compiler():
    with open("x.csv", "w") as file:
        file.write("a,b\n" + "1.5,2\n" * 1000)
    code = (
        "import sys; from trilby.cli import main\n"
        "assert main(['mix', 'mean', 'x.csv', '-o', 'y.csv']) == 0\n"
        "assert main(['mix', 'ema', 'x.csv', '-o', 'y.csv', '--a', '0.5']) == 0\n"
        "slow = {'numba', 'sympy', 'torch._dynamo', 'pandas', 'rich', 'pyarrow.compute'}\n"
        "print(*(slow & sys.modules.keys()))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=100
    )
    assert (run.returncode, run.stdout) == (0, "\n"), run.stderr


def test_a_long_file_is_mixed_by_the_kernel():
    np.save("x.npy", np.zeros((9, 3)))
    with open_bundle("x.npy", ("x",)) as bundle:
        plan = planned(trilby.mean, bundle, {}, None)
    x = dict(x=torch.zeros(1, 40_000, 3, dtype=torch.float64))
    assert plan.step == 4  # the sums of three channels, and a count
    assert few(trilby.mean, plan, 0, x) == "scan"
    assert few(trilby.mean, plan, 20_000, x) is None
    assert few(trilby.mean, plan, 0, dict(x=x["x"][:, :1])) is None  # `step` is chosen
    assert few(trilby.ema, plan, 0, x | dict(a=0.5)) == "scan"
    assert few(trilby.weighted, plan, 0, x | dict(s=x["x"])) == "scan"
    no_kernel = replace(trilby.weighted, best=lambda *_a, **_k: "step")
    assert few(no_kernel, plan, 0, x | dict(s=x["x"])) is None


def test_a_pipe_is_answered_line_by_line():
    command = [sys.executable, "-m", "trilby", "mix", "mean", "-", "-o", "-", "--index", "t"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        process.stdin.write("t;a\n")
        for given, answer in (("x;2", "x,2.0"), ("y;4", "y,3.0"), ("z;9", "z,5.0")):
            process.stdin.write(given + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
            line = process.stdout.readline() if line == "t,a\n" else line
            assert line == answer + "\n"
        process.stdin.close()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.stdout.close()
        process.wait(60)
