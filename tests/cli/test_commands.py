"""The commands as a user runs them: output, exit codes, messages for wrong input."""

import io
import json
import os
import pty
import signal
import subprocess
import sys
import time

import pytest

from trilby.cli import main


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    told = capsys.readouterr()
    return code, told.out, told.err


def test_tour_agrees_with_the_notebook(capsys):
    code, out, _ = run(capsys, "tour")
    assert code == 0
    assert out.count("equals the notebook") == 6
    assert "differs from the notebook" not in out
    assert "torch.allclose(xbow, xbow3) -> " in out
    assert "different functions: they differ by 1.1e-03" in out
    assert "copies" in out


def test_the_whole_tour_goes_from_the_mean_to_the_delta_rule(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run(capsys, "tour", "--all")
    assert code == 0
    titles = ["Mean", "Decay", "Weighted mean", "Attention", "Linear attention", "Delta rule",
              "Gated delta rule", "Kda"]  # fmt: skip
    for number, title in enumerate(titles, 8):
        assert f"{number}. {title}: " in out
    assert " ".join(out.split()).count("they differ by rounding only, by") == len(titles)
    assert out.count('form="chunk"') == len(titles)
    assert "16. What to try next" in out
    assert max(map(len, out.splitlines())) <= 80
    rows = [line.split() for line in out.splitlines() if line.split()[:1] == ["compare"]]
    assert rows[1][1:4] == [".33", ".33", ".33"]  # the mean
    assert rows[1][9:12] == [".09", ".00", "1.0"]  # "Shall" shares one letter: 0.64 / sqrt(7 7)
    for answer in (  # to what learners ask
        "Why is the scan slower than the loop here?",
        "sdpa, attn_mask=tril:             the same",
        "MultiheadAttention, ~tril:        the same",
        "MultiheadAttention, tril:         different",
        "same: different functions: they differ by",
        "check: leak  hasty  y[",
    ):
        assert answer in out


def test_step_needs_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    code, _, err = run(capsys, "tour", "--step")
    assert code == 2
    assert "--step waits for a key, and standard input is not a terminal" in err


def test_list_and_show(capsys):
    listed = [line.split() for line in run(capsys, "list")[1].splitlines()]
    assert [
        "mean",
        "loop",
        "matrix",
        "softmax",
        "scan",
        "chunk",
        "step",
        "shard",
        "fused",
    ] in listed
    assert ["decay", "loop", "matrix", "-", "scan", "chunk", "step", "shard", "fused"] in listed
    _, out, _ = run(capsys, "show", "mean", "-T", "3")
    assert "y_t = (x_0 + ... + x_t) / (t + 1)" in out
    assert "    1  0.500  0.500      ·" in out
    _, out, _ = run(capsys, "show", "decay", "-T", "3")
    assert "softmax  does not exist:" in out


def test_gallery(capsys):
    _, out, _ = run(capsys, "gallery")
    assert "norm_over_time" in out
    assert "wrong: causal, leak\n" in out
    assert "fft_convolution" in out
    _, out, _ = run(capsys, "gallery", "norm_over_time")
    assert "class NormOverTime(Scan):" in out
    assert "https://github.com/Andong-Li-speech/GaGNet/issues/2" in out
    _, out, _ = run(capsys, "gallery", "ring_buffer_window", "--json")
    [told] = json.loads(out)["exhibits"]
    assert told["right"] is True
    assert told["how"] == {"carry": "by_cache(start='empty')"}


@pytest.mark.parametrize("arguments", [("list",), ("show", "mean"), ("env",)])
def test_json_names_its_schema(capsys, arguments):
    code, out, _ = run(capsys, *arguments, "--json")
    assert code == 0
    assert json.loads(out)["schema"] == f"trilby.{arguments[0]}/1"


def test_same(capsys):
    code, out, _ = run(capsys, "same", "mean.loop", "mean.fused", "--dtype", "bfloat16")
    assert code == 0
    assert out.startswith("mean.loop = mean.fused: the same function")
    code, out, _ = run(capsys, "same", "mean.loop", "mean.softmax", "--json")
    assert json.loads(out)["ok"] is True


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["tuor"], "there is no command 'tuor'; did you mean 'tour'?"),
        (["show", "maen"], "there is no mixer 'maen'; did you mean 'mean'?"),
        (["same", "mean.loop", "mean.sofmax"], "did you mean 'softmax'?"),
        (["same", "conv.loop", "conv.scan"], "conv has no form 'scan': a prefix of a convolution"),
        (["same", "mean", "mean.loop"], "'mean' names no form; write e.g. mean.loop"),
        (
            ["gallery", "norm_over_tmie"],
            "no exhibit 'norm_over_tmie'; did you mean 'norm_over_time'?",
        ),
        (["same", "mean.loop", "mean.scan", "--shape", "2,3"], "expected three sizes B,T,C"),
    ],
)
def test_wrong_input_is_one_line_and_code_2(capsys, arguments, sentence):
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert sentence in err
    assert err.count("\n") == 1


def test_a_bug_in_trilby_is_code_3_without_a_traceback(capsys, monkeypatch):
    monkeypatch.setattr("trilby.env.machine", lambda: 1 / 0)
    monkeypatch.setattr("trilby.cli.environment.machine", lambda: 1 / 0)
    code, _, err = run(capsys, "env")
    assert code == 3
    assert "this is a bug in trilby" in err
    assert "Traceback" not in err
    with pytest.raises(ZeroDivisionError):
        main(["env", "--debug"])


def test_help_loads_neither_torch_nor_rich():
    code = (
        "import sys; from trilby.cli import main; main(['--help']); "
        "assert not {'torch', 'numpy', 'numba', 'rich'} & set(sys.modules), 'loaded'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Commands:" in done.stdout


def test_without_a_command_it_prints_the_help(capsys):
    code, out, err = run(capsys)
    assert (code, err) == (0, "")
    assert out.startswith("Usage: ")
    assert "\n  check " in out


def test_a_reader_that_leaves_is_no_error():
    command = f"set -o pipefail; {sys.executable} -m trilby show mean | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_ascii_where_the_output_is_not_utf8():
    done = subprocess.run(
        [sys.executable, "-m", "trilby", "show", "mean"],
        capture_output=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
    )
    assert done.returncode == 0
    assert done.stdout.isascii()


@pytest.mark.skipif(
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
    reason="this process ignores interrupts, as a shell's job in the background does",
)
def test_an_interrupt_is_130_and_one_line():
    process = subprocess.Popen(
        [sys.executable, "-m", "trilby", "check", "mean"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(4)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.strip() == "trilby: interrupted"


HALF_MADE = """
import sys
from trilby.cli import door

class Half:
    def __init__(self, ring):
        self.ring = self if ring else None
        raise KeyboardInterrupt

    def __del__(self):
        self.never_set

def interrupted(*_, **__):
    Half(ring={ring})

door.trilby.main = interrupted
sys.exit(door.main(["check", "mean"]))
"""


@pytest.mark.parametrize("ring", [False, True], ids=["alone", "in a ring"])
def test_what_an_interrupt_leaves_half_made_says_nothing(ring):
    """numba's compiler was interrupted inside a constructor: its destructor printed five lines."""
    command = [sys.executable, "-c", HALF_MADE.format(ring=ring)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "trilby: interrupted\n")


def test_step_waits_for_a_key_at_a_terminal():
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "trilby", "tour", "--step"],
        stdin=child,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    for _ in range(7):
        os.write(parent, b" ")
    out, _ = process.communicate(timeout=90)
    os.close(parent)
    os.close(child)
    assert process.returncode == 0
    assert "8. What to try next" in out


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
def test_standard_output_on_a_full_disk_is_said():
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "trilby", "show", "mean"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert (
        "trilby: the output cannot be written (No space left on device); free some space"
        in done.stderr
    )
    assert "Traceback" not in done.stderr
