"""Saved programs and states, devices without float64, calls that do not wait for a device."""

import pathlib
import subprocess
import sys
import threading
import warnings
from typing import NamedTuple

import numba
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import trilby
from tests.mixers.sweep import EVERY, FORMS, FUSED, drawn, fields, like, on_sequences, past
from trilby.contract import Contract
from trilby.errors import CallError, DocumentError, FormError, KernelError, StateError
from trilby.kernels import ops

WAITED_FOR = ("_local_scalar_dense", "nonzero", "masked_select", "equal")
DOCUMENTS = torch.tensor([[0, 0, 1, 1, 2], [3, 3, 3, 3, 3]])


class _Module(torch.nn.Module):
    def __init__(self, call):
        super().__init__()
        self.call = call

    def forward(self, *arguments):
        return self.call(*arguments)[0]


FRESH = """
import ctypes, os, pathlib, signal, sys
folder, lib = map(pathlib.Path, sys.argv[1:])
os.environ.pop("TRILBY_THREADS", None)
gnu = next(iter(lib.glob("libgomp*")), None)
other = folder / "libgomp-other.so"
if gnu is not None and gnu.read_bytes().count(b"libgomp.so.1\\0") == 1:
    other.write_bytes(gnu.read_bytes().replace(b"libgomp.so.1\\0", b"libgomp.so.9\\0"))
    ctypes.CDLL(str(other), mode=ctypes.RTLD_GLOBAL)  # as LD_PRELOAD does it, before torch
finders = len(sys.meta_path)
import trilby
assert len(sys.meta_path) == finders + 1 and "torch" not in sys.modules
import importlib.util
assert importlib.util.find_spec("torch").loader is not None  # a question is no import
assert len(sys.meta_path) == finders + 1
import torch
assert len(sys.meta_path) <= finders and not vars(torch.__spec__.loader).get("exec_module")
x = torch.arange(24.0).view(2, 4, 3)
for mixer in ("mean", "decay"):
    given = trilby.MIXERS[mixer].draw(B=2, T=4)
    for load, file in ((torch.export.load, ".pt2"), (torch.jit.load, ".pt")):
        program = load(folder / (mixer + file))
        program = program.module() if file == ".pt2" else program
        assert "numba" not in sys.modules or file == ".pt" or mixer == "decay"
        assert torch.equal(program(*given), trilby.MIXERS[mixer](*given)[0]), (mixer, file)
    state = torch.load(folder / (mixer + ".state"), weights_only=True)
    assert trilby.MIXERS[mixer](*given, state)[0].shape == program(*given).shape
from trilby.kernels.machine import team
torch.set_num_threads(2)
x = torch.randn(8, 4096, 64)
trilby.mean(x), x.exp().sum()
if other.exists() and "too old" not in team.found().why:
    assert team.found().why == str(other)
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # it would wait for ever
        trilby.mean(x), x.exp().sum()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
print("all of it")
"""


@pytest.mark.filterwarnings("ignore")  # torch.jit is old, and warns of sizes that it keeps
def test_a_new_process_loads_programs_and_states_after_import_trilby(tmp_path):
    """Before torch is imported, and beside a second OpenMP of GNU, which torch then uses."""
    for name in ("mean", "decay"):
        mixer = trilby.MIXERS[name]
        given, module = mixer.draw(B=2, T=4), _Module(mixer)
        torch.export.save(torch.export.export(module, given), tmp_path / f"{name}.pt2")
        torch.jit.save(torch.jit.trace(module, given), tmp_path / f"{name}.pt")
        torch.save(mixer(*given)[1], tmp_path / f"{name}.state")
    lib = torch.__path__[0] + "/lib"
    run = [sys.executable, "-c", FRESH, str(tmp_path), lib]
    found = subprocess.run(run, capture_output=True, text=True, timeout=110, check=False)
    assert found.stdout.splitlines()[-1:] == ["all of it"], found.stderr


@pytest.mark.parametrize("mixer", EVERY)
def test_a_state_survives_a_load_of_weights_alone(mixer, tmp_path):
    state = past(mixer)
    torch.save({"state": state, "step": 3}, tmp_path / "x.pt")
    again = torch.load(tmp_path / "x.pt", weights_only=True)["state"]
    assert type(again) is type(state)
    assert all(map(torch.equal, fields(again), fields(state)))


class Own(NamedTuple):
    h: Tensor
    n: Tensor


def test_so_does_the_state_of_ones_own_mixer(tmp_path):
    torch.save(Own(torch.ones(1), torch.zeros(1)), tmp_path / "x.pt")
    with pytest.raises(Exception, match="weights_only"):
        torch.load(tmp_path / "x.pt", weights_only=True)
    Contract("own", x="B T C", state=dict(h=("B C", torch.float32), n=("B", torch.int64)), made=Own)
    assert torch.load(tmp_path / "x.pt", weights_only=True).h.tolist() == [1.0]


class NoFloat64(TorchDispatchMode):
    """Refuses every tensor in float64, as MPS does."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        for t in tree_leaves((args, kwargs, found)):
            if isinstance(t, Tensor) and t.dtype == torch.float64:
                raise TypeError(f"the device has no float64 ({function})")
        return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(("mixer", "form"), FORMS)
def test_a_device_without_float64(mixer, form, dtype, monkeypatch):
    wide, before = drawn(mixer, dtype=dtype), past(mixer, dtype=dtype)
    exact = mixer.loop(*(x.double() for x in wide), _as(before, torch.float64), DOCUMENTS)
    monkeypatch.setattr("trilby.shapes.COARSE", ("cpu",))
    monkeypatch.setattr("trilby.kernels.ops.DEVICES", ("cuda",))  # no kernel runs there
    before = like(before, [t.float() if t.dtype == torch.float64 else t for t in fields(before)])
    given = [x.clone().requires_grad_() for x in wide]
    if form is mixer.forms.get("fused"):
        with pytest.raises(FormError, match="is on cpu"):
            form(*given)
        form = mixer
    with NoFloat64():
        y, after = form(*given, before, DOCUMENTS)
        form(*given, after)[0].sum().backward()
        form(*wide), mixer.weights(*wide, before)
    assert all(x.grad is not None and x.grad.dtype == dtype for x in given[:1])
    unit = torch.finfo(dtype).eps
    torch.testing.assert_close(y.double(), exact[0], rtol=4 * unit, atol=8 * unit)
    assert [t.dtype for t in fields(after)] == [t.dtype for t in fields(before)]


def _as(state, dtype):
    return like(state, [t.to(dtype) if t.is_floating_point() else t for t in fields(state)])


def test_a_module_on_a_device_without_float64_is_judged_as_a_copy_on_the_cpu(monkeypatch):
    monkeypatch.setattr("trilby.shapes.COARSE", ("cpu",))
    model, x = torch.nn.Linear(3, 3), torch.randn(2, 9, 3)
    few = dict(laws=["causal"], effort="quick")
    report = trilby.check(model, x, **few)
    assert report.ok
    assert "a copy on the CPU was judged, as cpu has no float64" in report.limits
    assert trilby.check(model, lambda B, T, seed: torch.randn(B, T, 3), **few).ok
    with pytest.raises(CallError, match="uses a module on cpu, which has no float64; move the"):
        trilby.check(lambda x: model(x)[:], x, **few)
    with pytest.raises(CallError, match="same: something is on cpu, which has no float64 to"):
        trilby.same(model, model, x)
    model.lock = threading.Lock()
    with pytest.raises(CallError, match=r"and cannot be copied \(TypeError.*; move the module and"):
        trilby.check(model, x, **few)


class Looks(TorchDispatchMode):
    """Counts the operations for whose result a GPU has to be waited for."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name, kwargs = function.overloadpacket.__name__, kwargs or {}
        mask = name in ("index", "index_put_") and any(
            isinstance(t, Tensor) and t.dtype == torch.bool for t in tree_leaves(args[1])
        )
        moved = name == "_to_copy" and "device" in kwargs
        if mask or moved or name in WAITED_FOR:
            self.seen.append(name)
        return function(*args, **kwargs)


@pytest.mark.parametrize(("mixer", "form"), FORMS)
def test_no_call_waits_for_a_device(mixer, form, monkeypatch):
    given, state = drawn(mixer), past(mixer)
    fake = FakeTensorMode()
    monkeypatch.setattr("trilby.shapes.READ", ())  # as if the tensors were not on a CPU
    with Looks() as looks:
        form(*given, state, DOCUMENTS)
        form(*on_sequences(mixer, given, lambda x: x[:, :1]), state)
        mixer.weights(*given, state, DOCUMENTS)
    assert looks.seen == []
    with fake:  # and no `tolist` or `numpy`, which are no operations
        form(*map(fake.from_tensor, given), like(state, map(fake.from_tensor, fields(state))),
             fake.from_tensor(DOCUMENTS))  # fmt: skip


def test_values_are_checked_on_a_cpu_and_where_asked(monkeypatch):
    x, wrong = torch.ones(1, 3, 2), torch.tensor([[1, 0, 0]])
    bad = trilby.mean(x)[1]._replace(count=torch.tensor([-1]))
    calls = {
        DocumentError: lambda: trilby.mean.scan(x, None, wrong),
        StateError: lambda: trilby.mean.scan(x, bad),
    }
    for error, call in calls.items():
        with pytest.raises(error):
            call()
    with Looks() as looks, pytest.raises(DocumentError):
        trilby.mean.scan(x, None, wrong)
    assert looks.seen
    monkeypatch.setattr("trilby.shapes.READ", ("elsewhere",))
    for error, call in calls.items():
        call()
        with trilby.value_checks(), pytest.raises(error):
            call()
        call()


@pytest.mark.filterwarnings("ignore:Guards may run slower")  # torch, on Python 3.13.0
@pytest.mark.parametrize("mixer", FUSED)
def test_without_a_compiler_torch_runs_and_says_so_once(mixer, monkeypatch):
    why = "numba, which compiles the kernels, is not installed: pip install numba"
    monkeypatch.setattr(ops, "NO_COMPILER", why)
    monkeypatch.setattr(ops, "_told", set())
    given = drawn(mixer)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(2):
            y = mixer(*given)[0]
    (line,) = told
    assert line.filename == __file__
    assert str(line.message).startswith(f"trilby: {why}; until then mixers run as torch operations")
    other = mixer.best(*given)
    assert other != "fused"
    assert torch.equal(y, mixer.forms[other](*given)[0])
    with pytest.raises(FormError, match=f"{why}, or take form='{other}'$"):
        mixer.fused(*given)
    torch._dynamo.reset()  # it counts the mixers that one `forward` was compiled for
    compiled = torch.compile(_Module(mixer), fullgraph=True, backend="eager")
    assert torch.equal(compiled(*given), y)


def test_a_check_does_not_judge_a_form_that_cannot_run_here(monkeypatch):
    monkeypatch.setattr(ops, "NO_COMPILER", "numba is not installed: pip install numba")
    few = dict(laws=["repeats", "resumes"], effort="quick")
    report = trilby.check(trilby.mean, forms=["step", "fused"], **few)
    assert {(v.subject, v.outcome) for v in report} == {
        ("mean.step", "holds"), ("mean.fused", "not run")
    }  # fmt: skip
    (line,) = (line for line in str(report).splitlines() if "mean.fused" in line)
    why = "mean.fused: x needs a kernel, and numba is not installed: pip install numba"
    assert line.startswith(f"mean.fused skipped: it cannot run here: {why}")
    assert not trilby.check(trilby.mean, forms=["fused"], **few)

    def broken(x, state=None, documents=None):
        raise ValueError("a fault")

    monkeypatch.setitem(trilby.mean.forms, "step", broken)
    (verdict, _) = trilby.check(trilby.mean, forms=["step"], **few)
    assert (verdict.outcome, verdict.kind) == ("broken", "raises")


@pytest.mark.parametrize("T", [1, 3])
@pytest.mark.parametrize("name", trilby.mean.forms)
def test_a_count_that_was_not_looked_at_gives_numbers_and_no_error(name, T, monkeypatch):
    monkeypatch.setattr("trilby.shapes.READ", ("elsewhere",))
    state = trilby.mixers.mean.State(torch.ones(1, 2, dtype=torch.float64), torch.tensor([-1]))
    y, after = trilby.mean(torch.ones(1, T, 2), state, form=name)
    assert not y[:, 0].isfinite().any()  # 2 / 0
    assert after.count.tolist() == [T - 1]


def test_an_operator_says_why_its_kernel_cannot_run(monkeypatch):
    from trilby.env import no_compiler
    from trilby.kernels.ops.operator import _launch

    for environment, start in (({}, ""), ({"NUMBA_DISABLE_JIT": "0"}, ""), (
        {"NUMBA_DISABLE_JIT": "1"}, "NUMBA_DISABLE_JIT is set, so numba compiles nothing: unset it"
    )):  # fmt: skip
        assert no_compiler(environment).startswith(start)
        assert bool(no_compiler(environment)) == bool(start)
    monkeypatch.setattr("trilby.kernels.ops.operator.import_module", _no_import)
    for name in [name for name in sys.modules if name.partition(".")[0] == "numba"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(KernelError, match=r"^mean: numba, .* \(Numba needs NumPy 2.4 or less\):"):
        _launch("mean", "..cpu.mean")()
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(KernelError, match=r"^mean: numba, which compiles .* is not installed: pip"):
        _launch("mean", "..cpu.mean")()


def _no_import(*_):
    raise ImportError("Numba needs NumPy 2.4 or less")


def test_a_compiler_that_was_turned_off_later(monkeypatch):
    from trilby.kernels.machine.compiler import Kernel

    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    with pytest.raises(
        KernelError, match="DISABLE_JIT is set, so numba compiles nothing: unset it"
    ):
        Kernel(lambda x: None, lambda element: (element,)).of(numba.float32)


@pytest.mark.parametrize("mixer", FUSED)
def test_an_export_to_onnx_takes_a_form_that_exports(mixer, monkeypatch):
    def operators():
        program = torch.export.export(_Module(mixer), drawn(mixer), strict=False)
        return {str(node.target) for node in program.graph.nodes if "trilby" in str(node.target)}

    assert len(operators()) == 1
    monkeypatch.setattr("torch.onnx.is_in_onnx_export", lambda: True)
    assert operators() == set()
    monkeypatch.setattr("torch.jit.is_tracing", lambda: True)  # the older exporter
    with FakeTensorMode(), pytest.raises(KernelError, match="ONNX has no such operator; take"):
        ops.prefix_mean(torch.zeros(1, 2, 3), torch.zeros(1, 3), torch.zeros(1))
    other = mixer.best(*drawn(mixer))
    with pytest.raises(FormError, match=f"to ONNX, .* kernel; take form='{other}'$"):
        mixer.fused(*drawn(mixer))


@pytest.mark.parametrize(
    ("system", "given", "end"),
    [("win32", "LOCALAPPDATA", "numba/Cache"), ("darwin", "", "Library/Caches/numba"),
     ("linux", "XDG_CACHE_HOME", "numba")],
)  # fmt: skip
def test_the_folder_of_compiled_kernels_where_their_own_cannot_be_written(
    system, given, end, tmp_path, monkeypatch
):
    from trilby import env

    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    if given:
        monkeypatch.setenv(given, str(tmp_path))
    assert env.kernel_cache()["folder"].endswith("kernels")
    monkeypatch.setattr(env, "_writable", lambda folder: folder.name != "kernels")
    monkeypatch.setattr(env.sys, "platform", system)
    assert env.kernel_cache() == {"folder": f"{tmp_path}/{end}", "writable": True, "programs": 0}


def test_a_folder_that_cannot_be_written_is_found_out_by_writing(tmp_path, monkeypatch):
    from trilby import env

    assert env._writable(tmp_path / "not" / "there")
    monkeypatch.setattr("os.access", lambda *_: True)  # as on Windows
    assert not env._writable(pathlib.Path("/proc/self"))
