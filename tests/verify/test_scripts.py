"""Reproducers of wrapped modules run as they stand, in a process that knows nothing of this one."""

import subprocess
import sys
import warnings
from functools import partial

import torch
from torch import nn
from torch.nn.utils import weight_norm
from torch.nn.utils.parametrizations import weight_norm as parametrized

import trilby
from trilby.gallery import GALLERY

AHEAD = 1


class Shift(nn.Module):
    """A layer, and what it makes of the next position."""

    def __init__(self, width, by=AHEAD):
        super().__init__()
        self.width, self.by = width, by
        self.out = nn.Linear(width, width)

    def forward(self, x):
        return self.out(shifted(x, self.by))

    def other(self, x):
        """Another method that is called."""
        return self(x) * 2


def shifted(x, by):
    return torch.cat([x[:, by:], x[:, :by]], 1)


def made():
    return Shift(4)


def closed():
    model, layers = Shift(4), [2]

    def way(x):
        return model(x) * layers[0]

    return way


class Local(nn.Module):
    """Its layers are no attributes of the names of its arguments."""

    def __init__(self, width):
        super().__init__()
        self.out = nn.Linear(width, width)

    def forward(self, x):
        return self.out(x.flip(1))


def inside():
    class Inner(nn.Module):
        """A class inside a function."""

        def __init__(self):
            super().__init__()
            self.out = nn.Linear(4, 4)

        def forward(self, x):
            return self.out(shifted(x, AHEAD))

    return Inner()


model = Shift(4)
CENTRED = nn.Conv1d(4, 4, 3, padding=1)


def old(layer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return weight_norm(layer)


WAYS = {
    "an instance": Shift(4),
    "a lambda": lambda x: model(x) + 1,
    "a lambda with a layer": lambda x, layer=model: layer.other(x),
    "a closure": closed(),
    "a method": Shift(4).other,
    "a partial": partial(lambda layer, x: layer(x), Shift(4)),
    "a partial of a class": partial(Shift, 4, by=2)(),
    "a factory": made,
    "a class inside a function": inside(),
    "layers in a row": nn.Sequential(nn.Linear(4, 4), nn.GELU(), Shift(4)),
    "an old weight norm": nn.Sequential(old(nn.Linear(4, 4)), Shift(4)),
    "a parametrization": nn.Sequential(parametrized(nn.Linear(4, 4), "weight"), Shift(4)),
    "channels first": lambda x: CENTRED(x.mT).mT,
    "an exhibit": GALLERY["triangle_one_too_wide"].build,
}
SMALL = {"an exhibit": (2, 16, 8)}


def script(way, *shape):
    x = torch.randn(shape or (2, 16, 4), generator=torch.Generator().manual_seed(0))
    [verdict] = trilby.check(way, x, laws=["causal"], effort="quick")
    return verdict.reproducer


def ran(scripts, folder):
    """What scripts print, each run by itself in one new process."""
    file = folder / "run.py"
    file.write_text(
        "import sys\nfor text in eval(sys.stdin.read()):\n    exec(text, {'__name__': 'script'})\n"
    )
    done = subprocess.run(
        [sys.executable, str(file)], input=repr(scripts), capture_output=True, text=True,
        check=False, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [float(line.removeprefix("tensor(").partition(",")[0].rstrip(")"))
            for line in done.stdout.splitlines()]  # fmt: skip


def test_the_scripts_run_and_show_the_leak(tmp_path):
    known = {name: script(way, *SMALL.get(name, ())) for name, way in WAYS.items()}
    assert {name: text for name, text in known.items() if "..." in text} == {}
    sizes = ran([*known.values()], tmp_path)
    assert len(sizes) == len(known)
    assert min(sizes) > 1e-3


OWN = """
import torch
from torch import nn
import trilby

class Mine(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.out = nn.Linear(width, width)

    def forward(self, x):
        return self.out(x.flip(1))

model = Mine()
for way in (model, lambda x: model(x)):
    [verdict] = trilby.check(way, torch.randn(2, 8, 4), laws=["causal"], effort="quick")
    print(verdict.reproducer)
    print("====")
"""


def test_what_stands_in_the_file_that_is_run_is_written_out(tmp_path):
    """As in a notebook: its classes are those of `__main__`, and cannot be imported."""
    (tmp_path / "mine.py").write_text(OWN)
    done = subprocess.run(
        [sys.executable, "mine.py"], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    scripts = done.stdout.split("====\n")[:-1]
    assert all("class Mine(nn.Module):" in text for text in scripts)
    assert min(ran(scripts, tmp_path)) > 1e-3


def test_what_cannot_be_written_is_named_in_one_line():
    lines = script(Local(4)).splitlines()
    [line] = [line for line in lines if "..." in line]
    assert line == "f = Local(...)  # fill in the arguments that yours has (Local)"
    space = {}
    exec("way = lambda x: x.flip(1)", space)
    [line] = [line for line in script(space["way"]).splitlines() if "..." in line]
    assert line == "f = ...  # fill in <lambda>: a lambda cannot be written"
