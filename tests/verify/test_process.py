"""A check is a guest in the process: it starts no device, and other threads keep their defaults."""

import os
import random
import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch._subclasses import FakeTensorMode

import trilby
from trilby.verify import process
from trilby.verify.precision.default import Default

QUICK = dict(laws=["repeats", "causal", "sound"], effort="quick")

NO_DEVICE = """
import torch, trilby
started = []
class Tracks(torch.nn.Linear):
    def forward(self, x):
        return torch.nn.functional.dropout(super().forward(x), 0.5, self.training)
torch.cuda._lazy_init = lambda: started.append("init")
torch.cuda.device_count = lambda: 2
torch.cuda.manual_seed_all = lambda seed: started.append("seed")
torch.cuda.get_rng_state = lambda *_: started.append("state")
x = torch.randn(2, 5, 3)
assert trilby.check(Tracks(3, 3), x, effort="quick")
assert trilby.check(trilby.mean, forms=["scan"], laws=["repeats", "sound"], effort="quick")
assert trilby.same(torch.exp, lambda x: x.exp(), x)
assert not torch.cuda.is_initialized()
print(started)
"""


def test_a_check_on_the_cpu_never_starts_cuda():
    run = [sys.executable, "-c", NO_DEVICE]
    found = subprocess.run(run, capture_output=True, text=True, timeout=120, check=False)
    assert (found.stdout, found.returncode) == ("[]\n", 0), found.stderr


@pytest.fixture
def device(monkeypatch, request):
    """A backend that writes down what is asked of it, and a tensor that is on its device."""
    asked: list[tuple[object, ...]] = []
    with FakeTensorMode():
        tensor = torch.empty(2, device=request.param)
    state = torch.tensor([5])

    def get(*place):
        asked.append(("get", *place))
        return state

    def put(value, *place):
        asked.append(("put", int(value), *place))

    fake = SimpleNamespace(get_rng_state=get, set_rng_state=put)
    if request.param != "mps":
        fake.running = True
        fake.is_initialized = lambda: fake.running
    monkeypatch.setattr(torch, request.param, fake)
    monkeypatch.setattr(process, "_first", lambda _device, _number: torch.tensor([0]))
    place = () if request.param == "mps" else (torch.device(request.param, 0),)
    return SimpleNamespace(asked=asked, tensor=tensor, place=place, backend=fake)


@pytest.mark.parametrize("device", ["cuda", "xpu", "mps"], indirect=True)
def test_the_generator_of_a_device_in_use_is_saved_once_and_put_back_once(device):
    with process.undisturbed({"x": (device.tensor, 3)}):
        for _ in range(2):
            with process.undisturbed(device.tensor):
                process.seed()
    wanted = [("get",), ("put", 0), ("put", 0), ("put", 5)]
    assert device.asked == [(*step, *device.place) for step in wanted]


@pytest.mark.parametrize("device", ["cuda", "xpu"], indirect=True)
def test_a_device_that_does_not_run_is_left_alone(device):
    device.backend.running = False
    with process.undisturbed(device.tensor):
        process.seed()
    assert device.asked == []


@pytest.mark.parametrize("device", ["cuda"], indirect=True)
def test_devices_are_found_in_modules_bound_methods_and_closures(device):
    module = torch.nn.Module()
    module.register_buffer("table", device.tensor)
    ways = (module, module.forward, module, torch.nn.Sequential(module))
    for way in ways:
        with process.undisturbed(way):
            pass
    with process.undisturbed():
        process.include(module)
    assert len(device.asked) == 2 * (len(ways) + 1)


def test_other_threads_keep_their_default_dtype_their_numbers_and_their_threads():
    stop, seen, drawn, fresh = threading.Event(), set(), [], []
    own = random.Random(1), np.random.default_rng(1), torch.Generator().manual_seed(1)
    draw = lambda r, n, t: (r.random(), n.random(), float(torch.rand(1, generator=t)))
    counts = lambda: fresh.append(torch.get_num_threads())

    def creates():
        while not stop.is_set():
            x = torch.zeros(2)
            seen.update((x.dtype, (1 / torch.tensor(3)).dtype, torch.get_default_dtype()))
            seen.add(torch.is_grad_enabled())

    def draws():
        while not stop.is_set():
            drawn.append(draw(*own))
            assert 0 <= float(torch.rand(1)) < 1
            (late := threading.Thread(target=counts)).start()
            late.join()

    before = torch.default_generator.get_state()
    crowd = [threading.Thread(target=work) for work in (creates, draws)]
    for thread in crowd:
        thread.start()
    try:
        model = torch.nn.GRU(3, 3, batch_first=True)
        assert trilby.check(model, torch.ones(2, 9, 3), output=0, **QUICK)
        assert trilby.same(
            lambda x: x / torch.tensor(3), lambda x: x * (1 / torch.tensor(3)), thirds()
        )
    finally:
        stop.set()
        for thread in crowd:
            thread.join(60)
    again = random.Random(1), np.random.default_rng(1), torch.Generator().manual_seed(1)
    assert drawn == [draw(*again) for _ in drawn]
    assert seen == {torch.float32, True}
    assert set(fresh) == {torch.get_num_threads()}
    assert before.shape == torch.default_generator.get_state().shape


def thirds():
    return torch.linspace(1, 2, 12).view(1, 4, 3)


def test_two_checks_do_not_run_at_once():
    inside, most = [], []

    def counted(x):
        inside.append(1)
        most.append(len(inside))
        threading.Event().wait(0.001)
        inside.pop()
        return x

    x = torch.ones(1, 3, 2)
    work = lambda: trilby.check(counted, x, laws=["repeats"], effort="quick")
    crowd = [threading.Thread(target=work) for _ in range(2)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join(60)
    assert set(most) == {1}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_can_check_though_another_thread_was_checking_at_the_fork():
    held, done = threading.Event(), threading.Event()

    def holds():
        with process.undisturbed():
            held.set()
            done.wait(60)

    thread = threading.Thread(target=holds)
    thread.start()
    held.wait(60)
    child = os.fork()
    if child == 0:
        found = []
        late = threading.Thread(target=lambda: found.append(process._lock.acquire(timeout=5)))
        late.start()
        late.join()
        os._exit(0 if found == [True] else 1)
    done.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


N = torch.arange(1, 4)
MADE = {
    "zeros": lambda: torch.zeros(3),
    "full": lambda: torch.full((2,), 0.1),
    "tensor": lambda: torch.tensor([0.1, 2]),
    "steps": lambda: torch.arange(0, 1, 0.1),
    "a quotient of whole numbers": lambda: 1 / N,
    "a root of whole numbers": N.sqrt,
    "a product with a number": lambda: N * 0.1,
    "a choice of numbers": lambda: torch.where(N > 1, 0.1, 0.2),
    "a choice of whole numbers": lambda: torch.where(N > 1, N, 0.2),
    "a complex number": lambda: torch.tensor(0.1j),
}


@pytest.mark.parametrize("make", MADE.values(), ids=MADE.keys())
def test_another_default_dtype_gives_what_torch_gives_with_that_default(make):
    with Default(torch.float64):
        found = make()
    torch.set_default_dtype(torch.float64)
    try:
        wanted = make()
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.dtype == wanted.dtype
    assert torch.equal(found, wanted)


def test_a_dtype_that_was_named_stays():
    with Default(torch.float64):
        narrow = (
            torch.zeros(2, dtype=torch.float32),
            N.float(),
            N.to(torch.float32),
            torch.tensor(1),
        )
        array = torch.as_tensor(np.ones(2, np.float32))
        drawn = torch.rand(3, generator=torch.Generator().manual_seed(2))
    assert [t.dtype for t in (*narrow, array)] == [torch.float32] * 3 + [torch.int64, torch.float32]
    wanted = torch.rand(3, generator=torch.Generator().manual_seed(2))
    assert torch.equal(drawn, wanted.double())
