"""Small files and functions, telling names, no near-copies; each rule is seen to fail."""

import pytest

from tests.house.pieces import copies, drawers, too_large
from tests.house.tree import SCRIPTS, SOURCES

SIX = """def f(x):
    a = x.one(1)
    b = a + 2
    for c in b:
        c.two(a)
        d = c
    return d
"""
SAME = SIX.replace("f(x)", "g(y)").replace("x.", "y.").replace("a", "k").replace("1)", "7)")


@pytest.mark.parametrize("module", SOURCES | SCRIPTS)
def test_a_piece_fits_in_the_head(module):
    assert too_large((SOURCES | SCRIPTS)[module], module) == []


def test_what_is_too_large_is_found():
    long = "def f():\n" + "    pass\n" * 40
    wide = f"def f({', '.join('abcdefghi')}, *j): ...\n"
    assert too_large("\n" * 400, "a.py") == ["a.py: 400 lines"]
    assert too_large(long, "a.py") == ["a.py: f has 41 lines"]
    assert too_large(wide, "a.py") == ["a.py: f has 10 parameters"]
    options = "def f(a, b, c, d, e, *, g=0, h=0, i=0, j=0, k=0): ...\n"
    assert too_large(options, "trilby/a.py") == ["trilby/a.py: f has 10 parameters"]
    assert too_large(options, "trilby/mixers/a.py") == []
    assert too_large(wide, "trilby/mixers/a.py") == ["trilby/mixers/a.py: f has 10 parameters"]
    assert too_large(wide, "trilby/functional/a.py") == []
    hidden = wide.replace("def f", "def _f")
    assert len(too_large(hidden, "trilby/functional/a.py")) == 1


def test_no_file_is_a_drawer():
    assert drawers(SOURCES | SCRIPTS) == []
    assert drawers({"trilby/utils.py": "", "trilby/mixers/mean.py": ""}) == ["trilby/utils.py"]


def test_no_near_copies():
    assert copies(SOURCES) == []


def test_a_near_copy_is_found():
    assert SAME != SIX
    assert copies({"a.py": SIX, "b.py": SAME})
    assert copies({"a.py": SIX + "\n" + SIX.replace("def f", "def g")})


def test_another_piece_is_not_a_copy():
    assert copies({"a.py": SIX}) == []
    assert copies({"a.py": SIX, "b.py": SAME.replace("two", "three")}) == []
