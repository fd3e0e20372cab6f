"""Tables as people have them: separators, decimals, missing values, kept columns, gz, parquet."""

import gzip
import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from trilby.errors import FileError
from trilby.files import Layout, Staged, open_sink, open_source
from trilby.files.pieces import Pieces


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def put(text, path="x.csv"):
    with open(path, "wb") as file:
        file.write(text if isinstance(text, bytes) else text.encode())
    return path


def read(path, steps=None, **options):
    """The values [T, C], the kept columns as lists, and the source."""
    with open_source(path, **options) as source:
        blocks = list(source.blocks(steps))
    kept = [b.kept for b in blocks if b.kept is not None]
    table = pa.concat_tables(kept).to_pydict() if kept else {}
    return np.concatenate([b.values[0] for b in blocks]), table, source


def said(path, **options):
    with pytest.raises(FileError) as caught:
        read(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


WAYS = [
    ("a;b\n1.5;2\n3;4\n", {}, "cells are separated by ';'"),
    ("a\tb\n1.5\t2\n3\t4\n", {}, "cells are separated by a tab"),
    ("a|b\n1.5|2\n3|4\n", {}, "cells are separated by '|'"),
    ('"a;x",b\n1.5,2\n3,4\n', {}, None),
    ("a;b\n1,5;2\n3;4\n", dict(decimal=","), "cells are separated by ';'"),
    ("1,5;2\n3;4\n", dict(decimal=",", no_header=True), "cells are separated by ';'"),
    ('"a\nx",b\n1.5,2\n3,4\n', {}, None),
    ("a b\n1.5 2\n3 4\n", dict(sep=" "), None),
    ("a:b\n1.5:2\n3:4\n", dict(sep=":"), None),
    ("1.5,2\n3,4\n", dict(no_header=True), None),
    ("# made by hand\na,b\n1.5,2\n# a comma, and a \"\n3,4\n", dict(comment="#"), None),
    ("a,b\r\n1.5,2\r\n\r\n3,4\r\n", {}, None),
    ("a,b\r1.5,2\r3,4\r", {}, None),
    ("\n\na,b\n 1.5 , +2\n3,4", {}, None),
    ("'a','b'\n'1.5','2'\n3,4\n", dict(quote="'"), None),
    ("\ufeff# made by hand\na,b\n1.5,2\n3,4\n", dict(comment="#"), None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "options", "noted"), WAYS, ids=range(len(WAYS)))
@pytest.mark.parametrize("path", ["x.csv", "x.csv.gz"])
def test_a_csv_in_every_dialect(text, options, noted, path):
    put(gzip.compress(text.encode()) if path.endswith("gz") else text, path)
    values, _, source = read(path, **options)
    assert values.tolist() == [[1.5, 2], [3, 4]]
    assert source.noted == (() if noted is None else (noted,))
    assert source.layout.shape == (None, 2)


def test_thousands():
    put("a;b\n1.234.567,5;-1.000\n12;NA\n")
    values, _, source = read("x.csv", thousands=".", decimal=",", skip_missing=True)
    np.testing.assert_array_equal(values, [[1234567.5, -1000], [12, np.nan]])
    assert source.skipped == 1
    assert "column a: '1.5' is not a number" in said(put("a\n1.5\n"), thousands=".", decimal=",")


@pytest.mark.parametrize(
    ("text", "options", "sentence"),
    [
        ("a;b\n1;2\n3,5;4\n", {}, "line 3: column a: '3,5' is not a number; pass --decimal , if"),
        ('a,b\n1,"2,000"\n', {}, "column b: '2,000' is not a number; pass --decimal , if"),
        ('a,b\n1,"2,000.5"\n', {}, "column b: '2,000.5' is not a number; pass --thousands , if"),
        ("day,a\nmon,1\n", {}, "column day: 'mon' is not a number; mend it, or keep the column "
         "with --keep day, or leave it out with --all-but"),
        ("1,2\n3\n", dict(no_header=True), "line 2: has 1 cells, the first line has 2"),
        ("# x\na,b\n1,2\n\n# y\n3,x\n", dict(comment="#"), "line 6: column b: 'x' is not"),
        ('a,b\n"1\n",2\n3,x\n', {}, "line 4: column b: 'x' is not"),
        ("a,b\n1,2\n", dict(sep=";;"), "--sep is ';;', expected one ASCII character"),
        ("a,b\n1,2\n", dict(decimal=","), "--sep and --decimal are both ','; choose another"),
        ("a,b\n1,2\n", dict(thousands=","), "--sep and --thousands are both ','"),
        ("a,b\n1,2\n", dict(sep=""), None),
        ("a,b\n1,2\n3,\xff\n".encode("latin-1"), {}, "line 3: is not UTF-8 text (invalid start"),
        ("a,b\n1,2\n".encode("utf-16"), {}, "is UTF-16 text, expected UTF-8; save it as UTF-8"),
        ("a,b\n1,2\n", dict(columns=("a",), all_but=("b",)), "--column and --all-but were both"),
        ("a,b\n1,2\n", dict(columns=("a",), keep=("a",)), "'a' is both kept and in --column"),
        ("a,b\n1,2\n", dict(keep=("c",)), "has no column 'c'; its header is a, b"),
        ("a,b\n1,2\n", dict(keep=("a", "b")), "no column is left to mix; its columns are a, b"),
        ("a b\n1 2\n", {}, "column a b: '1 2' is not a number; pass --sep ' ' if spaces"),
        ("a b,c\nx,2\n", {}, "--keep 'a b', or leave it out with --all-but 'a b'"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0), {}, "is compressed by gzip; name it .csv.gz"),
        ("\ufeff1,2\n3,x\n", dict(no_header=True), "line 2: column c1: 'x' is not a number"),
    ],
)  # fmt: skip
def test_one_sentence_says_where_and_what_to_do(text, options, sentence):
    put(text)
    if sentence is None:  # an empty option is one that was not given
        assert read("x.csv", **options)[0].tolist() == [[1, 2]]
    else:
        assert said("x.csv", **options).startswith("x.csv: ")
        assert sentence in said("x.csv", **options)


MISSING = ["", "NA", "nan", "NaN", "N/A", "n/a", "NULL", "null", "None", "#N/A", "<NA>", "-nan"]


@pytest.mark.parametrize("cell", [*MISSING, " NA ", '""'])
def test_missing_is_what_pandas_takes_for_it(cell):
    put(f"a,b\n1,2\n{cell},3\n5,6\n")
    values, _, source = read("x.csv", skip_missing=True)
    if cell == " NA ":  # pandas reads this as text
        assert np.isnan(values[1, 0])
    else:
        np.testing.assert_array_equal(values, pd.read_csv("x.csv"))
    assert source.skipped == 1
    if "nan" not in cell.lower():
        assert "line 3: column a: the value is missing; fill it in" in said("x.csv")


@pytest.mark.parametrize("steps", [None, 1, 2])
def test_columns_are_kept_as_they_are_written(steps):
    put('day,a,"name, first",b\n01-02,1,"x ""y""",2\n,3,"né\nz",4\n007,5,,6\n')
    options = dict(keep=("name, first",), index="day")
    values, kept, source = read("x.csv", steps, **options)
    assert values.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert kept == {"day": ["01-02", "", "007"], "name, first": ['x "y"', "né\nz", ""]}
    assert (source.layout.kept, source.layout.columns) == (("day", "name, first"), ("a", "b"))
    assert read("x.csv", all_but=("day", "name, first"))[0].tolist() == values.tolist()
    assert read("x.csv", columns=("b",), keep=("day",))[0].tolist() == [[2], [4], [6]]


def test_a_column_without_a_name_is_an_index():
    frame = pd.DataFrame({"a": [1.5, 2.5]}, index=[7, 8])
    frame.to_csv("x.csv")
    frame.rename_axis("t").to_parquet("x.parquet")
    for path, name in (("x.csv", ""), ("x.parquet", "t")):
        values, kept, source = read(path)
        assert values.tolist() == [[1.5], [2.5]]
        assert [str(x) for x in kept[name]] == ["7", "8"]
        assert source.layout.kept == (name,)
        assert len(source.noted) == 1
        assert "kept and not mixed" in source.noted[0]
    assert read("x.csv", columns=("", "a"))[0].tolist() == [[7, 1.5], [8, 2.5]]


LIKE = "column {} was mixed and looks like an index, as its whole numbers only rise or only fall"


@pytest.mark.parametrize("steps", [None, 1, 2])
@pytest.mark.parametrize("path", ["x.csv", "x.parquet"])
def test_a_column_that_looks_like_an_index_is_named(path, steps):
    frame = pd.DataFrame(
        {
            "year no": [1999, 2000, 2004, 2005],
            "newest": [20260131, 20251231, 20251130, 20251030],
            "x": [1, 2, 2, 3],
            "y": [1.0, 2.0, 3.5, 4.0],
            "z": [1, 2, 3, 1],
        }
    )
    frame.to_csv("x.csv", index=False)
    frame.to_parquet("x.parquet")
    values, _, source = read(path, steps)
    assert values.tolist() == frame.to_numpy().tolist()  # nothing is guessed
    assert [note.partition(";")[0] for note in source.noted] == [
        LIKE.format("year no"), LIKE.format("newest")
    ]  # fmt: skip
    assert source.noted[0].endswith("; --keep 'year no' copies it")
    columns = ("year no", "y")
    assert read(path, steps, columns=columns)[2].noted == ()  # they were asked for by name
    assert read(path, steps, keep=("year no", "newest"))[2].noted == ()


def test_columns_are_not_taken_for_an_index_where_nothing_else_is_mixed():
    assert read(put("a,b\n1,2\n3,4\n5,6\n"))[2].noted == ()
    assert read(put("a,b\n1,2\n2,2\n"))[2].noted == ()  # too few rows


def test_two_columns_of_a_parquet_with_one_name():
    parquet.write_table(pa.table([pa.array([1.0]), pa.array([2.0])], names=["a", "a"]), "x.parquet")
    assert said("x.parquet") == "x.parquet: two columns have one name (a, a); rename one"


@pytest.mark.parametrize("out", ["y.csv", "y.tsv", "y.csv.gz", "y.tsv.gz", "y.parquet"])
def test_what_is_written_is_read_by_pandas(out):
    frame = pd.DataFrame(
        {"day": ["01", "02, x", ""], "a": [1.0, np.nan, 1e300], "b": [0.1, -0.0, 1e16]}
    )
    frame.to_csv("x.csv", index=False, na_rep="nan")
    with open_source("x.csv", keep=("day",)) as source, Staged(out) as staged:
        sink = open_sink(out, staged, source.layout)
        for block in source.blocks(2):
            sink.keep(block.kept)
            sink.append(block.values)
        sink.finish(3)
        staged.seal()
        staged.appear()
    sep = "\t" if "tsv" in out else ","
    found = (
        pd.read_parquet(out)
        if out == "y.parquet"
        else pd.read_csv(out, sep=sep, dtype={"day": str}, keep_default_na=False, na_values="nan")
    )
    pd.testing.assert_frame_equal(found, frame, check_exact=True, check_dtype=False)
    assert np.signbit(found["b"][1])
    values, _, _ = read(out, keep=("day",))
    np.testing.assert_array_equal(values, frame[["a", "b"]])


def test_numbers_are_written_as_floats():
    with Staged("y.csv") as staged:
        sink = open_sink("y.csv", staged, Layout((9, 1), "float64", ("a",)))
        values = [2, -0.0, 0.1, np.nan, 1e9, -1e10, 1e16, 1e-5, np.inf]
        sink.append(np.array(values).reshape(1, -1, 1))
        sink.finish(len(values))
        staged.seal()
        staged.appear()
    with open("y.csv") as file:
        cells = file.read().split()
    assert cells == ["a", "2.0", "-0.0", "0.1", "nan", "1000000000.0", "-1e+10", "1e+16", "0.00001",
                     "inf"]  # fmt: skip


@pytest.mark.parametrize("steps", [None, 1, 3])
def test_a_parquet(steps):
    table = pa.table(
        {
            "day": pa.array([*range(5)], pa.date32()),
            "i": pa.array([1, 2, None, 4, 5], pa.int16()),
            "x": pa.array(np.arange(5), pa.float32()),
        }
    )
    parquet.write_table(table, "x.parquet", row_group_size=2)
    values, kept, source = read("x.parquet", steps, index="day", skip_missing=True)
    expected = [[1, 0], [2, 1], [np.nan, 2], [4, 3], [5, 4]]
    np.testing.assert_array_equal(values, expected)
    assert kept == {"day": table["day"].to_pylist()}
    assert (source.layout.shape, source.layout.dtype, source.skipped) == ((5, 2), "float64", 1)
    assert read("x.parquet", columns=("x",))[2].layout.dtype == "float32"
    assert "column day holds date32[day], not numbers; keep it with --keep day" in said("x.parquet")
    assert "row 2: column i: the value is missing; fill" in said("x.parquet", index="day")
    assert "--sep is for .csv, .tsv, .csv.gz and .tsv.gz, not" in said("x.parquet", sep=";")
    put(b"PAR1 but not really", "y.parquet")
    assert "y.parquet: is not a whole .parquet (" in said("y.parquet")


def test_a_gz_that_is_cut_or_is_none():
    whole = gzip.compress(b"a\n" + b"1.25\n" * 100_000)
    put(whole[: len(whole) // 2], "x.csv.gz")
    assert "x.csv.gz: cannot be read after line " in said("x.csv.gz")
    assert "cannot be read after line 1 (Not a gzipped file" in said(put("a\n1\n", "y.csv.gz"))


@pytest.mark.parametrize("kind", ["int8", "uint16", ">i4", "int64", "uint64"])
def test_integers_become_float64(kind):
    array = np.array([[1, 2], [3, 100]], kind)
    np.save("x.npy", array)
    values, _, source = read("x.npy", 1)
    assert values.dtype == np.float64
    np.testing.assert_array_equal(values, array)
    assert source.noted == (f"{array.dtype.newbyteorder('=').name} was read as float64",)


class Pipe:
    """A stream that gives its bytes piece by piece."""

    def __init__(self, *parts: bytes) -> None:
        self.parts = list(parts)

    def read1(self, _: int) -> bytes:
        return self.parts.pop(0) if self.parts else b""


def test_rows_that_have_arrived_are_passed_on():
    pipe = Pipe(b"a,", b"b\n1", b',2\n3,"', b'4\n5"\n6,', b"7\n")
    pieces = Pieces("x", pipe, b'"', b"")
    assert pieces.row().data == b"a,b\n"
    assert len(pipe.parts) == 3  # nothing was read ahead
    rest = iter(pieces)
    for data, line, left in [(b"1,2\n", 2, 2), (b'3,"4\n5"\n', 3, 1), (b"6,7\n", 5, 0)]:
        assert next(rest) == (line, data)
        assert len(pipe.parts) == left
    assert list(rest) == []


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_pieces_are_whole_rows_wherever_the_bytes_are_cut(size, end):
    rows = ["a,b", '"x', 'y""",1', '"",2', "", "3,4", '"","']
    text = end.join([*rows, '"']).encode()
    parts = [text[i : i + size] for i in range(0, len(text), size)]
    pieces = list(Pieces("x", Pipe(*parts), b'"', b""))
    assert b"".join(p.data for p in pieces) == text
    assert all(p.data.count(b'"') % 2 == 0 for p in pieces)
    lines = [1 + text[: text.index(p.data)].count(end.encode()) for p in pieces[:1]]
    assert [p.line for p in pieces[:1]] == lines


def test_a_line_without_an_end_is_refused(monkeypatch):
    monkeypatch.setattr("trilby.files.pieces.LONGEST", 1 << 20)
    zeros = io.BytesIO(b"0" * (9 << 20))
    with pytest.raises(FileError, match="x: line 1: is longer than 1 MiB; check the type"):
        list(Pieces("x", io.BufferedReader(zeros), b'"', b""))
    text = io.BytesIO(b'5" wide,1\n' + b"1,2\n" * (3 << 20))
    with pytest.raises(FileError, match='a quote " that opens here is not closed within 1 MiB'):
        list(Pieces("x", io.BufferedReader(text), b'"', b""))
