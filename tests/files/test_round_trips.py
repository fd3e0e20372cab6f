"""Files are read as numpy reads them, and written files read back the same, block by block."""

import csv
import itertools

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from trilby.files import Staged, open_sink, open_source

SHAPES = [
    (0,),
    (1,),
    (7,),
    (7, 1),
    (7, 3),
    (0, 3),
    (7, 0),
    (2, 7, 3),
    (5, 1, 2),
    (0, 7, 3),
    (2, 0, 3),
]


def numbers(shape, dtype):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def as_time_on_axis_1(array):
    return array[None, :, None] if array.ndim == 1 else array[None] if array.ndim == 2 else array


def joined(source, steps):
    """All blocks, back in one [B, T, C] array."""
    rows = {}
    for part, values, _ in source.blocks(steps):
        assert values.shape[0] == part.stop - part.start
        rows.setdefault(part.start, []).append(values)
    return np.concatenate([np.concatenate(rows[b], 1) for b in sorted(rows)])


def copy(path, out, steps, **reading):
    with open_source(str(path), **reading) as source, Staged(str(out)) as staged:
        sink = open_sink(str(out), staged, source.layout)
        total, rows = 0, None
        for part, values, _ in source.blocks(steps):
            total, rows = (total if part == rows else 0) + values.shape[1], part
            sink.append(values)
        sink.finish(total)
        sink.abort()
        staged.seal()
        staged.appear()


@pytest.mark.parametrize("steps", [None, 1, 2, 3, 7, 14, 100])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_layout_is_read_block_after_block(tmp_path, shape, steps):
    array = numbers(shape, "float32")
    np.save(tmp_path / "x.npy", array)
    np.savez_compressed(tmp_path / "x.npz", x=array)
    save_file({"x": torch.from_numpy(array)}, tmp_path / "x.safetensors")
    for name in ("x.npy", "x.npz", "x.safetensors"):
        with open_source(str(tmp_path / name)) as source:
            assert source.layout.shape == shape
            assert source.layout.dtype == "float32"
            np.testing.assert_array_equal(joined(source, steps), as_time_on_axis_1(array))
            assert source.done == source.size == array.nbytes


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("pair", list(itertools.product(("npy", "npz", "safetensors"), repeat=2)))
@pytest.mark.parametrize("shape", [(7,), (7, 3), (2, 7, 3), (2, 0, 3)], ids=str)
def test_every_pair_of_formats_keeps_the_array(tmp_path, shape, pair, dtype):
    first, second = (tmp_path / f"{i}.{kind}" for i, kind in enumerate(pair))
    array = numbers(shape, dtype)
    np.save(tmp_path / "x.npy", array)
    copy(tmp_path / "x.npy", first, 2)
    copy(first, second, 3)
    if pair[1] == "safetensors":
        found = load_file(second)["y"].numpy()
    else:
        found = np.load(second)
        found = found["y"] if pair[1] == "npz" else found
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_bfloat16_keeps_its_bits(tmp_path):
    x = torch.randn(2, 7, 3).bfloat16()
    save_file({"a": x}, tmp_path / "x.safetensors")
    copy(tmp_path / "x.safetensors", tmp_path / "y.safetensors", 2)
    assert torch.equal(load_file(tmp_path / "y.safetensors")["y"], x)


def test_bfloat16_as_decimals(tmp_path):
    x = torch.tensor([1.5, -0.1015625, float("nan"), 3e38]).bfloat16()
    save_file({"a": x}, tmp_path / "x.safetensors")
    copy(tmp_path / "x.safetensors", tmp_path / "y.csv", 2)
    cells = (tmp_path / "y.csv").read_text().split()
    assert cells[0] == "c0"
    back = torch.tensor([float(c) for c in cells[1:]]).bfloat16()
    torch.testing.assert_close(back, x, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("kind", ["npy", "npz"])
@pytest.mark.parametrize("descr", [">f8", ">f4", ">f2"])
def test_the_other_byte_order(tmp_path, kind, descr):
    array = numbers((7, 3), descr)
    save = np.save if kind == "npy" else np.savez
    save(tmp_path / f"x.{kind}", array)
    with open_source(str(tmp_path / f"x.{kind}")) as source:
        found = joined(source, 2)
    np.testing.assert_array_equal(found[0], array)
    assert found.dtype.isnative


@pytest.mark.parametrize("save", [np.save, np.savez, np.savez_compressed])
@pytest.mark.parametrize("steps", [None, 1, 3, 7])
def test_channels_that_lie_apart(tmp_path, save, steps):
    array = np.asfortranarray(numbers((7, 3), "float32"))
    path = tmp_path / ("x.npy" if save is np.save else "x.npz")
    save(path, array)
    with open_source(str(path)) as source:
        np.testing.assert_array_equal(joined(source, steps)[0], array)


def test_one_of_several_arrays(tmp_path):
    one, two = numbers((4,), "float32"), numbers((5, 2), "float64")
    np.savez(tmp_path / "x.npz", one=one, two=two)
    save_file(
        {"one": torch.from_numpy(one), "two": torch.from_numpy(two)}, tmp_path / "x.safetensors"
    )
    for name in ("x.npz", "x.safetensors"):
        with open_source(str(tmp_path / name), member="two") as source:
            np.testing.assert_array_equal(joined(source, 2)[0], two)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("kind", ["npy", "npz", "safetensors"])
def test_a_csv_keeps_every_number(tmp_path, dtype, kind):
    array = np.concatenate([numbers((9, 3), dtype), [[np.nan, np.inf, -0.0]]]).astype(dtype)
    np.save(tmp_path / "x.npy", array)
    copy(tmp_path / "x.npy", tmp_path / "x.csv", 4)
    copy(tmp_path / "x.csv", tmp_path / f"y.{kind}", 4)
    with open_source(str(tmp_path / f"y.{kind}")) as source:
        assert source.layout.shape == (10, 3)
        assert source.layout.dtype == "float64"
        np.testing.assert_array_equal(joined(source, 3)[0].astype(dtype), array)


def test_a_csv_as_spreadsheets_write_it(tmp_path):
    (tmp_path / "x.csv").write_bytes(b'\xef\xbb\xbf"a, b", c \r\n"1", 2 \r\n3e2,-inf\r\n')
    with open_source(str(tmp_path / "x.csv")) as source:
        assert source.layout.columns == ("a, b", "c")
        assert joined(source, 1).tolist() == [[[1, 2], [300, -np.inf]]]


def test_columns_in_the_order_asked_for(tmp_path):
    (tmp_path / "x.csv").write_text("day,a,b\nmon,1,2\ntue,3,4\n")
    with open_source(str(tmp_path / "x.csv"), columns=("b", "a")) as source:
        assert joined(source, 1).tolist() == [[[2, 1], [4, 3]]]


def test_missing_values_are_nan_when_told_so(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,\n3,4\n\nNA,5\n6,nan\n")
    with open_source(str(tmp_path / "x.csv"), skip_missing=True) as source:
        found = joined(source, 1)
        assert source.skipped == 3
    np.testing.assert_array_equal(found, [[[1, np.nan], [3, 4], [np.nan, 5], [6, np.nan]]])


def test_a_csv_without_rows_is_a_sequence_of_length_0(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n")
    copy(tmp_path / "x.csv", tmp_path / "y.npy", None)
    assert np.load(tmp_path / "y.npy").shape == (0, 2)


@pytest.mark.parametrize("steps", [None, 1, 4])
def test_a_text_is_one_hot(tmp_path, steps):
    text = "naïve 🙂\r\nplan\n" * 3
    (tmp_path / "x.txt").write_bytes(text.encode())
    with open_source(str(tmp_path / "x.txt")) as source:
        letters, found = source.layout.columns, joined(source, steps)
        assert len(text) == source.layout.T
    assert letters == tuple(sorted(set(text)))
    assert found.sum() == len(text)
    assert "".join(letters[i] for i in found[0].argmax(1)) == text


def test_a_text_over_a_given_alphabet(tmp_path):
    (tmp_path / "x.txt").write_text("abba")
    with open_source(str(tmp_path / "x.txt"), alphabet="cba") as source:
        assert joined(source, 3).argmax(2).tolist() == [[2, 1, 1, 2]]


def test_characters_as_names_of_columns(tmp_path):
    (tmp_path / "x.txt").write_text('a,"\n')
    copy(tmp_path / "x.txt", tmp_path / "y.csv", 2)
    with open(tmp_path / "y.csv", newline="") as file:
        assert next(csv.reader(file)) == ["\n", '"', ",", "a"]
