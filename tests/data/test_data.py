"""The data sets: files are as listed in DATA.md, and tensors hold what is in the files."""

import hashlib
import re
from importlib.resources import files

import pytest
import torch

from trilby import data

FOLDER = files(data)
LISTED = re.findall(
    r"^\| (\S+\.\w+) \| .* \| ([0-9a-f]{16}) \|$", FOLDER.joinpath("DATA.md").read_text(), re.M
)


@pytest.mark.parametrize(("file", "checksum"), LISTED)
def test_a_file_is_the_one_listed(file, checksum):
    assert hashlib.sha256(FOLDER.joinpath(file).read_bytes()).hexdigest()[:16] == checksum


def test_every_file_is_listed():
    shipped = {f.name for f in FOLDER.iterdir() if f.name.endswith((".csv", ".txt"))}
    assert {file for file, _ in LISTED} == shipped
    assert len(LISTED) == 4


@pytest.mark.parametrize(("series", "length"), [("sunspots", 309), ("nile", 100), ("co2", 2284)])
def test_a_series_is_ready_for_a_mixer(series, length):
    time, values = getattr(data, series)()
    assert values.shape == (1, length, 1)
    assert time.shape == (length,)
    assert time.dtype == values.dtype == torch.float64
    assert (time.diff() > 0).all()


def test_the_values_are_those_of_the_files():
    sunspots, nile = data.sunspots().values, data.nile().values
    assert sunspots.max() == 190.2
    assert sunspots[0, -1, 0] == 2.9
    assert nile.mean().item() == pytest.approx(919.35, abs=1e-9)
    assert nile.min() == 456


def test_the_gaps_of_co2_are_nan_and_nothing_else_is():
    time, values = data.co2()
    gaps = values[0, :, 0].isnan()
    assert gaps.nonzero().flatten()[:3].tolist() == [6, 9, 10]
    assert values[~values.isnan()].min() == 313.0
    assert time.diff().max() < 7.01 / 365  # no week is missing


def test_the_text_is_ascii_with_plain_newlines():
    text = data.sonnets()
    assert text.isascii()
    assert "\r" not in text


def test_each_call_returns_its_own_tensor():
    data.nile().values.zero_()
    assert data.nile().values[0, 0, 0] == 1120
