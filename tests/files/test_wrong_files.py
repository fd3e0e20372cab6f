"""Every problem with a file gives one line that names the file and says what to do."""

import os
import struct
import sys
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from trilby.errors import FileError
from trilby.files import Layout, Staged, open_sink, open_source

X = np.arange(6, dtype="float32").reshape(3, 2)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def said(path, **reading) -> str:
    """The error of reading the file at `path` to its end."""
    with pytest.raises(FileError) as caught, open_source(path, **reading) as source:
        list(source.blocks(1))
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.startswith(path)
    return sentence


def write(path, data):
    with open(path, "wb") as file:
        file.write(data if isinstance(data, bytes) else data.encode())
    return path


def stored(path, array, keep=None, extra=b""):
    """The array in a file of that kind, cut after `keep` bytes or with `extra` ones behind."""
    if path.endswith(".npy"):
        np.save(path, array)
    elif path.endswith(".npz"):
        np.savez_compressed(path, x=array)
    else:
        save_file({"x": torch.from_numpy(array)}, path)
    with open(path, "rb") as file:
        data = file.read()
    return write(path, data[:keep] + extra)


KINDS = [".npy", ".npz", ".safetensors", ".csv", ".txt"]


@pytest.mark.parametrize("kind", KINDS)
def test_missing(kind):
    assert said("x" + kind) == f"x{kind}: there is no such file; check the path"


@pytest.mark.parametrize("kind", KINDS)
def test_empty(kind):
    assert said(write("x" + kind, b"")) == f"x{kind}: is empty (0 bytes); write it again"


@pytest.mark.parametrize("kind", KINDS)
def test_a_directory_and_a_pipe(kind):
    os.mkdir("d" + kind)
    assert said("d" + kind) == f"d{kind}: is a directory, expected a file"
    os.mkfifo("p" + kind)
    writer = os.open("p" + kind, os.O_RDWR)  # else opening waits for one
    assert "is not a regular file; pass a pipe as csv with '-'" in said("p" + kind)
    os.close(writer)


@pytest.mark.parametrize("kind", KINDS)
def test_no_permission(kind, monkeypatch):
    def refuse(path, mode):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("trilby.files.opening.open", refuse, raising=False)  # root may read all
    assert said("x" + kind) == f"x{kind}: no permission to read it; ask its owner for it"


def test_an_unknown_ending():
    known = ".npy .npz .safetensors .csv .tsv .csv.gz .tsv.gz .parquet .txt"
    assert said("x.bin") == f"x.bin: ends in '.bin', the kinds that can be read are {known}"
    assert said("x") == f"x: has no ending, the kinds that can be read are {known}"


def test_truncated():
    assert "takes 24 bytes, 20 are there; write it again" in said(stored("x.npy", X, keep=-4))
    assert "takes 24 bytes, 20 are there" in said(stored("x.safetensors", X, keep=-4))
    assert "is not a whole .npz (File is not a zip file)" in said(stored("x.npz", X, keep=-4))
    assert "its .npy header is broken" in said(stored("x.npy", X, keep=20))
    assert "is not a whole .safetensors file" in said(stored("x.safetensors", X, keep=20))
    assert "is not UTF-8 text (byte 1: unexpected end of data)" in said(write("x.txt", b"a\xc3"))


def test_bytes_behind_the_end():
    assert "4 bytes follow the 24 of its array" in said(stored("x.npy", X, extra=b"more"))


def test_a_damaged_archive():
    path = stored("x.npz", np.zeros(100_000, "float32"))
    with zipfile.ZipFile(path) as archive:
        size = archive.getinfo("x.npy").compress_size
    with open(path, "r+b") as file:
        file.seek(60 + size // 2)
        file.write(b"\xff\xff\xff\xff")
    sentence = said(path)
    assert "cannot be unpacked" in sentence or "is not a whole .npz" in sentence
    assert sentence.endswith("write it again")


def test_another_type():
    png = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
    assert "is not a .npy file (it begins with b'\\x89PNG\\r\\n')" in said(write("x.npy", png))
    assert "is not a whole .npz" in said(write("x.npz", png))
    assert "is not a whole .safetensors file; check the type" in said(write("x.safetensors", png))
    assert "line 1: is not UTF-8 text (invalid start byte)" in said(write("x.csv", png))
    assert "is not UTF-8 text (byte 0: invalid start byte)" in said(write("x.txt", png))
    broken = struct.pack("<Q", 5) + b"[1,2]"
    assert "its .safetensors header is broken" in said(write("x.safetensors", broken))


def test_not_a_sequence():
    np.save("x.npy", np.zeros((1, 2, 3, 4)))
    assert "has shape [1, 2, 3, 4], expected [T], [T, C] or [B, T, C]" in said("x.npy")
    np.save("x.npy", np.float64(3))
    assert "has shape [], expected" in said("x.npy")
    for dtype in ("bool", "complex64", "datetime64[s]"):
        np.save("x.npy", np.zeros(3, dtype))
        assert f"holds {dtype}, expected float64, float32, float16, bfloat16" in said("x.npy")
    save_file({"x": torch.zeros(3, dtype=torch.int32)}, "x.safetensors")
    assert "holds I32, expected" in said("x.safetensors")
    np.save("x.npy", np.asfortranarray(np.zeros((2, 3, 4))))
    assert "lies in Fortran order, expected C order" in said("x.npy")


def test_which_array():
    np.savez("x.npz", a=X, b=X)
    assert said("x.npz") == "x.npz: holds 2 arrays (a, b); choose one with --member"
    assert said("x.npz", member="c") == "x.npz: has no array 'c'; choose --member from a, b"
    np.savez("x.npz")
    assert said("x.npz") == "x.npz: holds no arrays; put one in"


@pytest.mark.parametrize("path", ["x.csv", "x.parquet"])
def test_without_pyarrow(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    sentence = f"{path}: tables are read and written by pyarrow, which cannot be imported ("
    assert said(write(path, "a\n1\n")).startswith(sentence)
    with pytest.raises(FileError, match="pip install pyarrow"), Staged("y" + path) as staged:
        open_sink("y" + path, staged, Layout((3,), "float64"))


def test_an_option_for_another_kind():
    stored("x.npy", X)
    assert said("x.npy", skip_missing=True) == (
        "x.npy: --skip-missing is for .csv, .tsv, .csv.gz, .tsv.gz and .parquet, not .npy; "
        "leave it out"
    )
    assert "--member is for .npz and .safetensors" in said("x.csv", member="a")
    assert "--alphabet is for .txt" in said("x.csv", alphabet="ab")
    assert "--column is for .csv, .tsv" in said("x.txt", columns=("a",))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a,b\n1,2\n3\n", "line 3: has 1 cells, the header names 2; mend the line"),
        ("a,b\n1,2,3\n", "line 2: has 3 cells, the header names 2; mend the line"),
        ("a,b\n1,x y\n", "line 2: column b: 'x y' is not a number; mend it, or keep the"),
        ("a,b\n1,1_0\n", "line 2: column b: '1_0' is not a number"),
        ("a,b\n1,2\n,4\n", "line 3: column a: the value is missing; fill it in, or leave such"),
        ("a,b\n1,NA\n", "line 2: column b: the value is missing"),
        ("a,b\n1,2\n\n3,\n", "line 4: column b: the value is missing"),
        ("1,2\n3,4\n", "line 1 holds numbers (1, 2), expected a header that names the columns"),
        ("\n1\n", "line 2 holds numbers (1), expected a header that names the columns; add one"),
        ("\n\n", "is empty, expected a header line that names the columns"),
        (
            'a,b\n1,"2\n',
            'line 2: a quote " that opens here is not closed at the end of the file; close',
        ),
    ],
)
def test_a_csv_that_is_not_numbers(text, sentence):
    assert sentence in said(write("x.csv", text))


def test_skipping_missing_values_does_not_skip_words():
    write("x.csv", "a,b\n,word\n")
    assert "line 2: column b: 'word' is not a number" in said("x.csv", skip_missing=True)


def test_columns_that_are_not_there():
    write("x.csv", "a,b,b\n1,2,3\n")
    assert said("x.csv", columns=("c",)) == "x.csv: has no column 'c'; its header is a, b, b"
    assert "has 2 columns 'b'" in said("x.csv", columns=("b",))


def test_an_alphabet_that_does_not_fit():
    write("x.txt", "abba")
    assert "character 1 is 'b', which is not in the alphabet of 1" in said("x.txt", alphabet="a")
    assert "the alphabet names a character twice" in said("x.txt", alphabet="aba")


def test_what_cannot_be_written():
    def refused(path, layout):
        with pytest.raises(FileError) as caught, Staged(path) as staged:
            open_sink(path, staged, layout)
        assert not os.path.exists(path)
        return str(caught.value)

    half = Layout((3,), "bfloat16")
    assert refused("y.npy", half) == (
        "y.npy: numpy has no bfloat16; write a .safetensors or a .csv"
    )
    assert "numpy has no bfloat16" in refused("y.npz", half)
    batch = Layout((2, 3, 1), "float32")
    assert "y.csv: a csv holds [T] or [T, C], this is [B, T, C]" in refused("y.csv", batch)
    assert "y.txt: ends in '.txt', the kinds that can be written" in refused("y.txt", batch)


def test_places_that_cannot_be_written(monkeypatch):
    def refused(path):
        with pytest.raises(FileError) as caught:
            Staged(path)
        return str(caught.value)

    os.mkdir("d")
    assert refused("d") == "d: is not a regular file and cannot be replaced; choose another"
    assert "is not a regular file" in refused("/dev/null")
    assert "there is no folder" in refused("no/y.npy")
    write("y.npy", b"old")
    assert "y.npy/z.npy: cannot be written (Not a directory)" in refused("y.npy/z.npy")
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write everything
    assert refused("y.npy").startswith("y.npy: no permission to replace it")

    def deny(path, *_):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("os.open", deny)
    assert "z.npy: cannot be written (Permission denied); choose another" in refused("z.npy")
