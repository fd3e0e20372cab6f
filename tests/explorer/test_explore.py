"""`trilby.explore` without a browser: numbers, errors, files, the terminal."""

import base64
import csv
import importlib.util
import io
import json
import re
import struct
import time
import zlib

import numpy as np
import pytest
import torch
import transformers

import trilby
from tests.house.tree import ROOT
from trilby.cli import main
from trilby.errors import CallError, FileError, NumberError
from trilby.explorer.packing import EXACT, SMALL, WHOLE, precision
from trilby.explorer.page import page
from trilby.explorer.patterns import pattern
from trilby.explorer.pictures import png
from trilby.explorer.triangle import Triangle
from trilby.shown.ansi import coloured
from trilby.shown.shading import LIGHT

MIXERS = list(trilby.MIXERS)


@pytest.mark.parametrize("name", MIXERS)
def test_every_mixer_is_unfolded_exactly(name):
    shown = trilby.explore(name, "sonnets", T=40)
    assert shown.ok, shown.answer
    for one in shown.triangles:
        assert one.ahead == 0
        assert one.residual <= 1e-12 * float(one.output.abs().max())
    where = shown.where
    assert where.tokens[1] == where.tokens[8] == "r"
    assert where.values[0, 1] == where.values[0, 8] != where.values[0, 0]


def test_attention_is_that_of_transformers():
    """The weights that its eager function returns, for the same queries and keys."""
    from trilby.explorer.naming import named
    from trilby.explorer.positions import positions
    from trilby.explorer.unfolding import drawn

    where = positions("sonnets", 24, None)
    arguments = drawn(trilby.attention, where, named("attention").arguments)
    q, k, v = (arguments[n].transpose(1, 2) for n in "qkv")
    module = torch.nn.Module()
    module.num_key_value_groups, module.training = 1, False
    mask = torch.full((24, 24), -torch.inf, dtype=torch.float64).triu(1)[None, None]
    eager = transformers.models.llama.modeling_llama.eager_attention_forward
    _, wei = eager(module, q, k, v, mask, scaling=q.shape[-1] ** -0.5, dropout=0.0)
    mine = trilby.explore("attention", "sonnets", T=24).triangles[0].weights
    torch.testing.assert_close(mine, wei[0, 0].double(), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", MIXERS)
def test_unfolding_takes_two_seconds_at_most(name):
    began = time.perf_counter()
    assert len(trilby.explore(name, "sonnets", T=1024).triangles[0].weights) == 1024
    assert time.perf_counter() - began < 8  # 2 s on a quiet machine; see docs/explorer.md


def test_numbers_channels_and_parameters():
    x = torch.randn(1, 12, 3, generator=torch.Generator().manual_seed(0))
    shown = trilby.explore(["ema:0.5", "attention:window=2", "linear:normalize=False", "conv"], x)
    assert shown.triangles[0].sums().tolist() == pytest.approx([1.0] * 12)
    assert "All 3 channels" in shown.triangles[0].fact
    assert "Each row adds up to 1." in shown.triangles[0].fact
    facts = trilby.explore("delta", "sonnets", T=9).triangles[0].fact
    assert "A row need not add up to 1. Weights have either sign." in facts
    window = shown.row(7)["attention:window=2"]
    assert window.nonzero()[:, 0].tolist() == [6, 7]
    assert [one.name for one in shown.triangles][-3:] == ["conv 0", "conv 1", "conv 2"]
    y = trilby.ema(x.double(), 0.5)[0]
    assert torch.equal(shown.triangles[0].output, y[0, :, 0])


def test_data_by_name():
    assert len(trilby.explore("mean", "nile").where.tokens) == 100
    assert len(trilby.explore("mean", "co2", T=300).where.tokens) == 300  # its gaps are left out
    text = trilby.explore("mean", "sonnets", T=12).where.tokens
    assert "".join(text) == "From fairest"


def centred(x):
    return x - x.mean(1, keepdim=True)


class Backwards(torch.autograd.Function):
    """Right values, and a gradient from each output to the next input as well."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, dy):
        return dy + dy.roll(1, 1)


def backwards(x):
    return Backwards.apply(x)


def test_a_leak_of_the_gradient_alone_is_a_leak():
    shown = trilby.explore([backwards], torch.randn(1, 8, 1))
    (leak,) = shown.subjects[0].leaks
    assert leak.subject == "backwards by gradient"
    assert (leak.position, leak.reads) == (0, 1)
    assert not shown.ok


def squared(x):
    return x.cumsum(1) ** 2


def test_a_module_is_measured():
    x = torch.randn(1, 9, 2, generator=torch.Generator().manual_seed(1))
    shown = trilby.explore([centred, squared, torch.nn.Linear(2, 2)], x)
    assert [subject.linear for subject in shown.subjects] == [True, False, True]
    assert not shown.ok
    (leak,) = shown.subjects[0].leaks
    assert (leak.position, leak.reads, leak.cells) == (0, 1, 36)
    assert leak.name.startswith("a statistic over the whole time")
    assert "torch" in leak.reproducer
    by_gradient = shown.triangles[1].weights
    assert shown.triangles[1].name == "centred by gradient"
    off = by_gradient - by_gradient.diag().diag()
    assert off[0, 1:].min() > 0
    assert shown.subjects[2].triangles[0].weights.count_nonzero() == 9  # a linear layer: diagonal


@pytest.mark.parametrize(
    ("cells", "name"),
    [
        ({(3, 5), (4, 6)}, "reads up to 2 ahead"),
        ({(t, t + 1) for t in range(11)}, "reads one position ahead"),
        ({(t, s) for t in range(12) for s in range(t + 1, t - t % 4 + 4)},
         "reads ahead inside blocks of 4 positions"),
        ({(0, 11)}, "wraps around: the first positions read the last ones"),
        ({(4, 11), (0, 5)}, "reads later positions"),
        (set(), ""),
    ],
)  # fmt: skip
def test_leaks_have_plain_names(cells, name):
    weights = torch.eye(12, dtype=torch.float64)
    for t, s in cells:
        weights[t, s] = 0.5
    assert pattern(weights) == name


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: trilby.explore("maen"), CallError, "did you mean 'mean'"),
        (lambda: trilby.explore("mean", "sonets"), CallError, "did you mean 'sonnets'"),
        (lambda: trilby.explore([]), CallError, "nothing to show"),
        (lambda: trilby.explore(3), CallError, "expected the name of a mixer"),
        (lambda: trilby.explore("ema:much"), CallError, "gives a as 'much', expected a number"),
        (lambda: trilby.explore("ema:1.5"), NumberError, "a is 1.5, expected a number from 0 to 1"),
        (lambda: trilby.explore("mean:1"), CallError, "of mean are none"),
        (lambda: trilby.explore("mean", T=5000), NumberError, "5000 x 5000 weights take 0.2 GB"),
        (lambda: trilby.explore("mean", T=0), CallError, "T is 0"),
        (lambda: trilby.explore("mean", torch.ones(2, 5, 1)), CallError, "one row [1, T, C]"),
        (lambda: trilby.explore("mean", torch.ones(1, 5, 1), tokens="ab"), CallError,
         "tokens are 2"),
        (lambda: trilby.explore("mean", torch.tensor([[[1.0], [torch.nan]]])), NumberError,
         "x[0, 1, 0] is nan"),
        (lambda: trilby.explore("conv", torch.ones(1, 2, 300)), CallError, "has 300 triangles"),
        (lambda: trilby.explore(["conv:bias=1"]), CallError, "numbers and flags of conv are silu"),
        (lambda: trilby.explore([torch.nn.Linear(5, 5)], torch.ones(1, 4, 2)), CallError,
         "Linear does not take x [1, 4, 2]"),
        (lambda: trilby.explore("mean", tokens="ab").row(2), NumberError, "from -2 to 1"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_a_line(call, error, said):
    with pytest.raises(error, match=re.escape(said)) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(("explore: ", "ema."))


def test_weights_that_are_not_finite_are_named():
    weights = torch.zeros(3, 3, dtype=torch.float64)
    weights[2, 1] = torch.inf
    with pytest.raises(NumberError, match="first at row 2, column 1"):
        Triangle("mine", weights, False, "")


def test_a_slow_module_is_refused_before_it_hangs(monkeypatch):
    monkeypatch.setattr("trilby.explorer.measuring.SECONDS", 0.0)
    with pytest.raises(CallError, match="give T=1 or less"):
        trilby.explore([centred], torch.ones(1, 9, 1))


def test_files_are_whole(tmp_path):
    shown = trilby.explore(["mean", "delta"], "sonnets", T=20)
    for kind in ("html", "png", "svg", "json", "csv"):
        shown.save(tmp_path / f"x.{kind}")
    told = json.loads((tmp_path / "x.json").read_text())
    assert torch.equal(torch.tensor(told["triangles"][1]["weights"], dtype=torch.float64),
                       shown.triangles[1].weights)  # fmt: skip
    found = torch.zeros(20, 20, dtype=torch.float64)
    rows = csv.DictReader(io.StringIO((tmp_path / "x.csv").read_text()))
    for row in rows:
        if row["triangle"] == "delta":
            found[int(row["reads"]), int(row["read"])] = float(row["weight"])
    assert torch.equal(found, shown.triangles[1].weights)
    svg = (tmp_path / "x.svg").read_text()
    assert svg.startswith("<svg")
    assert "http" not in svg.replace('xmlns="http://www.w3.org/2000/svg"', "")
    with pytest.raises(FileError, match="there is no folder"):
        shown.save(tmp_path / "none" / "x.html")
    with pytest.raises(CallError, match=r"ends in \.html"):
        shown.save(tmp_path / "x.gif")
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "x.csv", "x.html", "x.json", "x.png", "x.svg"
    ]  # fmt: skip


def decoded(data: bytes) -> np.ndarray:
    """A PNG as pixels, read by the rules of the format."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(data):
        (length,), name = struct.unpack(">I", data[at : at + 4]), data[at + 4 : at + 8]
        body = data[at + 8 : at + 8 + length]
        (check,) = struct.unpack(">I", data[at + 8 + length : at + 12 + length])
        assert check == zlib.crc32(name + body)
        chunks[name] = body
        at += 12 + length
    width, height, depth, kind = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert (depth, kind) == (8, 2)
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, 3)


def test_a_png_has_the_colours_of_the_weights():
    weights = torch.eye(4, dtype=torch.float64)
    weights[2, 0], weights[0, 3] = -1.0, 1.0
    image = decoded(png([Triangle("mine", weights, False, "")], side=40))
    assert image.shape == (40, 40, 3)
    assert tuple(image[5, 5]) == LIGHT.weight
    assert tuple(image[25, 5]) == LIGHT.negative
    assert tuple(image[5, 35]) == LIGHT.leak
    assert tuple(image[35, 5]) == LIGHT.paper
    assert tuple(image[15, 35]) == LIGHT.future
    weights = torch.eye(8, dtype=torch.float64)
    weights[2, 3] = 1e-2  # a small leak in a cell of the diagonal
    red, green, blue = decoded(png([Triangle("mine", weights, False, "")], side=4))[1, 1].tolist()
    assert green < min(red, blue)


def worst(T: int) -> Triangle:
    """Weights that no compression shortens."""
    rng = torch.Generator().manual_seed(0)
    return Triangle("mine", torch.randn(T, T, generator=rng, dtype=torch.float64).tril(), False, "")


def shown_as(one: Triangle):
    """A page with this triangle in place of that of the mean."""
    shown = trilby.explore("mean", tokens=["x"] * len(one.weights))
    shown.__dict__["triangles"] = [one]
    return shown


def test_sizes_in_the_worst_case():
    assert len(page(shown_as(worst(2048)))) <= 5_000_000
    assert len(shown_as(worst(512))._repr_html_()) <= 500_000
    assert precision([worst(512)], SMALL).ratio == 1
    many = precision([worst(512)] * 8, SMALL)
    assert many.ratio == 3
    assert "3 x 3" in str(many)


def test_kept_digits_are_a_unit_of_what_is_shown():
    one = worst(400)
    how = precision([one])
    from trilby.explorer.packing import packed

    told = packed(one, how)
    planes = np.frombuffer(zlib.decompress(base64.b64decode(told["data"])), np.uint8)
    kept = planes.reshape(4, -1).T.copy().view(np.float32)[:, 0]
    wanted = one.weights.numpy()[np.tril_indices(400)]
    assert np.abs(kept / wanted - 1).max() <= 2.0**-how.bits
    small = Triangle("mine", torch.eye(3, dtype=torch.float64) * 1e-60, False, "")
    told = packed(small, precision([small]))
    planes = np.frombuffer(zlib.decompress(base64.b64decode(told["data"])), np.uint8)
    assert (planes.reshape(4, -1).T.copy().view(np.float32)[:, 0] != 0).sum() == 3


def test_the_terminal_in_every_character_set():
    shown = trilby.explore(["ema:0.5", "delta"], "sonnets", T=64).at(30)
    plain = shown.said(80)
    assert max(map(len, plain.splitlines())) <= 80
    assert "cell = " in plain
    assert "ema:0.5: 30 " in plain
    assert "effective length 3" in plain
    assert "ok  no output reads a later position" in plain
    assert repr(shown).splitlines()[0].startswith("ema:0.5")
    ascii = "\n".join("".join(s.text for s in row) for row in shown.lines(60, ascii=True))
    assert set(ascii) - {chr(c) for c in range(32, 127)} <= {"\n", "␣", "…"}
    halves = shown.lines(80, colour=True)
    full, few = coloured(halves, 24), coloured(halves, 8)
    assert "\x1b[38;2;" in full
    assert "\x1b[38;5;" in few
    assert re.sub(r"\x1b\[[0-9;]*m", "", full) == re.sub(r"\x1b\[[0-9;]*m", "", few)


def test_the_command(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "70")
    assert main(["explore", "mean", "ema:0.9", "-T", "30", "--row", "4"]) == 0
    out = capsys.readouterr().out
    assert "ema:0.9: 4 '␣' reads 0 'F' 0.656" in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 70
    file = tmp_path / "m.py"
    file.write_text("def ahead(x):\n    return x.roll(-1, 1)\n")
    path = tmp_path / "page.html"
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    code = main(
        ["explore", f"{file}:ahead", "--channels", "2", "-T", "8", "-o", str(path), "--open"]
    )
    assert code == 1  # it leaks
    assert "ahead leaks: y[0] reads x[1]" in capsys.readouterr().err
    assert opened == [path.as_uri()]
    assert path.read_text().startswith("<!doctype html>")
    assert main(["explore", "mean", "--open"]) == 2
    assert "add -o page.html" in capsys.readouterr().err
    assert main(["explore", "mean", "--data", "nile", "--channels", "2"]) == 2


def test_the_page_of_the_documentation_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "explorer.md").read_text(encoding="utf-8")
    for code in re.findall(r"```python\n(.*?)```", text, re.S):
        if ".widget()" not in code or importlib.util.find_spec("anywidget"):
            exec(code, {})
    assert (tmp_path / "page.html").stat().st_size < 200_000
    assert "no output reads a later position" in capsys.readouterr().out
    for number in (EXACT, WHOLE, SMALL):
        assert f"{number:,}" in text


def test_a_leak_that_float32_would_round_away_is_found():
    def faint(x):
        return x + 1e-12 * x.roll(-1, 1)

    shown = trilby.explore(
        [faint], torch.randn(1, 6, 1, generator=torch.Generator().manual_seed(0))
    )
    assert shown.triangles[0].ahead == 5
