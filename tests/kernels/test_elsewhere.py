"""Other systems than Linux with glibc, by taking away what they lack: it falls back and works."""

import subprocess
import sys

import pytest

FAKE = """
import ctypes, mmap, os, pathlib, platform, signal, sys
import click, numba, numba.core.codegen, numpy, torch, torch.utils.deterministic
import torch._library.autograd, numba.extending, safetensors
lacks, system, arch = {lacks}, {system!r}, {arch!r}
places = dict(os=os, mmap=mmap, signal=signal)
for name in lacks:
    place, _, attribute = name.partition(".")
    if hasattr(places[place], attribute):
        delattr(places[place], attribute)
load, read = ctypes.CDLL, pathlib.Path.read_text
class Without:
    "A library that has no OpenMP of GNU."
    def __init__(self, *_, **__): pass
    def __getattr__(self, name): raise AttributeError(name)
ctypes.CDLL = Without
def text(self, *how, **named):
    if system != "linux" and str(self).startswith(("/proc", "/sys")):
        raise FileNotFoundError(str(self))
    return read(self, *how, **named)
pathlib.Path.read_text = text
sys.platform = system
platform.machine = lambda: arch
"""

WORK = """
import trilby
from trilby.cli import main
from trilby.kernels.machine import team
torch.set_num_threads(2)
x = torch.arange(8.0 * 4096 * 64).view(8, 4096, 64)
y, _ = trilby.mean.fused(x)
assert torch.allclose(y, trilby.mean.scan(x)[0])
del y
q, g = torch.randn(1, 1024, 8, 16), -torch.rand(1, 1024, 8)
a, b = (f(q, q, q, g)[0] for f in (trilby.decay.fused, trilby.decay.scan))
assert float((a - b).abs().max()) < 1e-3
assert trilby.check(torch.nn.Linear(3, 3), torch.randn(2, 5, 3), effort="quick")
assert trilby.memory().kept <= trilby.memory().limit
trilby.release_memory()
os.chdir(sys.argv[1])
pathlib.Path("in.csv").write_text("a\\n1\\n3\\n")
for _ in range(2):  # the second replaces a file
    assert main(["mix", "mean", "in.csv", "-o", "out.csv"]) == 0
assert pathlib.Path("out.csv").read_text().split() == ["a", "1.0", "2.0"]
assert system == "win32" or main(["env"]) == 0  # rich asks the real Windows for its console
print(team.found().why)
"""

FORK = ("os.register_at_fork", "os.fork")
HUGE = ("mmap.MADV_HUGEPAGE",)
UNIX = ("os.fchmod", "os.sysconf", "mmap.MAP_PRIVATE", "mmap.MAP_ANONYMOUS", "mmap.MADV_FREE",
        "signal.SIGHUP", "signal.alarm", "os.O_NONBLOCK")  # fmt: skip
SYSTEMS = {
    "macOS on ARM": dict(system="darwin", arch="arm64", lacks=HUGE),
    "Windows": dict(system="win32", arch="AMD64", lacks=(*FORK, *HUGE, *UNIX)),
    "musl": dict(system="linux", arch="x86_64", lacks=()),
}


@pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS.keys())
def test_it_works_without_what_only_linux_with_glibc_has(system, tmp_path):
    run = [sys.executable, "-c", FAKE.format(**system) + WORK, str(tmp_path)]
    found = subprocess.run(run, capture_output=True, text=True, timeout=300, check=False)
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[-1] == "torch is not built on GNU OpenMP here"
