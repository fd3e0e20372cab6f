"""Memory that is used again: never while anybody can see it, never more of it than is said."""

import copy
import gc
import io
import os
import pickle
import re
import signal
import sys
import threading
from pathlib import Path

import pytest
import torch

import trilby
import trilby.errors
from trilby.kernels.machine import memory as pages

MIB = 1 << 20
SIZE = pages.LARGE // 4  # elements of float32 in the smallest result that is kept


@pytest.fixture(autouse=True)
def _nothing_kept():
    gc.collect()
    pages.release()
    yield
    pages._chosen.clear()
    pages.release()


def large(times: float = 1.0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return pages.empty_like(torch.empty(1, dtype=dtype).expand(int(SIZE * times)))


def test_memory_is_used_again_when_its_result_is_dead():
    y = large()
    place = y.data_ptr()
    assert place % pages.HUGE == 0
    assert pages.kept() == 0
    del y
    assert pages.kept() == pages.LARGE
    assert large(dtype=torch.float32).data_ptr() == place
    z = large(2, torch.bfloat16)
    assert (z.data_ptr(), z.dtype) == (place, torch.bfloat16)


HOLDERS = {
    "a view": lambda y: y[5:],
    "a view of other elements": lambda y: y.view(torch.int32),
    "the storage": lambda y: y.untyped_storage(),
    "an array": lambda y: y.numpy()[3:],
    "a capsule": torch.utils.dlpack.to_dlpack,
    "a detached one": lambda y: y.detach(),
    "a graph": lambda y: (torch.ones_like(y, requires_grad=True) * y).grad_fn,
}


@pytest.mark.parametrize("hold", HOLDERS.values(), ids=HOLDERS.keys())
def test_memory_that_anybody_holds_is_not_given_away(hold):
    y = large()
    place, held = y.data_ptr(), hold(y)
    del y
    gc.collect()
    assert pages.kept() == 0
    assert large().data_ptr() != place
    pages.release()
    del held
    gc.collect()
    assert pages.kept() == pages.LARGE
    assert large().data_ptr() == place


def test_small_results_and_too_large_ones_are_torch_s_own(monkeypatch):
    monkeypatch.setattr(pages, "bound", lambda: pages.LARGE)
    small, huge = large(0.9), large(2)
    for y in (small, huge):
        y.resize_(y.numel() + 1)  # so the storage is torch's
    del small, huge, y
    assert pages.kept() == 0


def test_no_more_is_kept_than_is_said_and_the_oldest_goes(monkeypatch):
    monkeypatch.setattr(pages, "bound", lambda: 3 * pages.LARGE)
    made = [large() for _ in range(5)]
    places = [y.data_ptr() for y in made]
    for i in range(5):
        made[i] = None
        assert pages.kept() == min(i + 1, 3) * pages.LARGE
    assert [large().data_ptr() for _ in range(1)] == [places[4]]
    assert list(pages._kept) == places[2:]


def test_a_block_much_larger_than_what_is_asked_for_stays():
    y = large(2)
    place = y.data_ptr()
    del y
    assert large().data_ptr() != place
    assert large(1.8).data_ptr() == place


def test_release_gives_it_all_back_and_leaves_the_living_alone():
    y, z = large().fill_(1), large()
    del z
    assert pages.release() == pages.LARGE
    assert pages.kept() == 0
    assert bool((y == 1).all())


def test_it_is_poisoned_like_torch_s_own():
    y = large().fill_(1)
    del y
    assert bool(large().isnan().all())
    fill = torch.utils.deterministic.fill_uninitialized_memory
    torch.utils.deterministic.fill_uninitialized_memory = False
    try:
        y = large().fill_(1)
        del y
        assert bool((large() == 1).all())
    finally:
        torch.utils.deterministic.fill_uninitialized_memory = fill


def test_results_of_the_mixer_do_not_disturb_each_other():
    x = trilby.mean.draw(B=2, T=1024, C=512)[0]
    wanted = trilby.mean.scan(x)[0]
    kept = [trilby.mean.fused(x * i)[0] for i in range(1, 5)]
    for i, y in enumerate(kept, 1):
        torch.testing.assert_close(y, wanted * i)
    with torch.inference_mode():
        y = trilby.mean.fused(x)[0]
        assert y.is_inference()
    torch.testing.assert_close(torch.compile(trilby.mean.fused, backend="aot_eager")(x)[0], wanted)


def test_threads_never_get_the_same_memory():
    wrong = []

    def work(mine: int) -> None:
        for _ in range(200):
            y, z = large(), large()
            y.fill_(mine)
            z.fill_(-mine)
            if y.min() != mine or y.max() != mine or z.max() != -mine or z.min() != -mine:
                wrong.append(mine)

    crowd = [threading.Thread(target=work, args=(i,)) for i in range(1, 5)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join(100)
    assert wrong == []
    assert pages.kept() <= pages.bound()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_shares_nothing_with_its_parent():
    y, z = large().fill_(1), large()
    del z
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # torch's own threads do not survive a fork
    child = os.fork()
    if child == 0:
        good = pages.kept() == 0
        place = y.data_ptr()
        del y
        good = good and large().data_ptr() == place  # its own copy, used again
        large().fill_(3)
        os._exit(0 if good else 1)
    torch.set_num_threads(before)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert pages.kept() == pages.LARGE
    assert bool((y == 1).all())


def test_a_kernel_that_fails_gives_its_memory_back(monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("in the kernel")

    x = trilby.mean.draw(B=2, T=1024, C=512)[0]
    monkeypatch.setattr("trilby.kernels.machine.threads.spread", fails)
    with pytest.raises(RuntimeError, match="in the kernel"):
        trilby.mean.fused(x)
    gc.collect()
    assert pages.kept() == pages.LARGE


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_system_may_take_what_is_kept():
    y = large(8).fill_(1)
    assert lazy() < 16 * MIB
    del y
    assert lazy() >= 32 * MIB
    assert large(8).fill_(2).min() == 2


def lazy() -> int:
    text = Path("/proc/self/smaps").read_text()
    return 1024 * sum(int(n) for n in re.findall(r"LazyFree:\s+(\d+) kB", text))


def test_what_such_a_tensor_can_do_and_cannot():
    y = large().fill_(1)
    assert not y._is_view()
    for made in (pickle.loads(pickle.dumps(y)), copy.deepcopy(y), y.clone()):
        assert torch.equal(made, y)
        made.resize_(y.numel() + 1)
    file = io.BytesIO()
    torch.save(y, file)
    file.seek(0)
    assert torch.equal(torch.load(file), y)
    with pytest.raises(RuntimeError, match="storage that is not resizable"):
        y.resize_(y.numel() + 1)
    assert y.resize_(3).tolist() == [1, 1, 1]
    z = large().fill_(2)
    place = z.data_ptr()
    z.share_memory_()  # moves it, so that its memory is free
    assert z.is_shared()
    assert large().data_ptr() == place
    assert float(z.min()) == 2


def test_where_there_is_no_such_memory_it_is_torch_s_own(monkeypatch):
    def none(*_, **__):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(pages.mmap, "mmap", none)
    y = large()
    y.resize_(y.numel() + 1)
    assert pages.kept() == 0


def test_the_limit_is_chosen_and_what_is_above_it_goes_at_once():
    made = [large() for _ in range(3)]
    assert trilby.memory() == (pages.usual() // pages.HUGE * pages.HUGE, 0)
    made.clear()
    assert trilby.memory(limit=2 * pages.LARGE + 1) == (2 * pages.LARGE, 2 * pages.LARGE)
    assert trilby.memory(limit=0) == (0, 0)
    y = large()
    y.resize_(y.numel() + 1)  # so the storage is torch's
    del y
    assert trilby.memory().kept == 0


@pytest.mark.parametrize("limit", [-1, 1.5, True, "1 GiB", 1 << 62])
def test_a_limit_that_cannot_be_is_an_error_and_changes_nothing(limit):
    before = trilby.memory()
    with pytest.raises(trilby.errors.CallError, match="memory: limit is "):
        trilby.memory(limit=limit)
    assert trilby.memory() == before


MAX = "9223372036854771712"
GROUPS = {
    "the second version": ({"": "0::/a/b", "a/b/memory.max": "max", "a/memory.max": "5000"}, 5000),
    "a container": ({"": "0::/", "memory.max": "7000", "memory.high": "6000"}, 6000),
    "the first version": (
        {"": "9:cpu:/x\n4:memory:/d/e", "memory/memory.limit_in_bytes": MAX,
         "memory/d/e/memory.limit_in_bytes": "4000", "d/e/memory.max": "1"}, 4000),
    "a container of the first": (
        {"": "4:cpu,memory:/docker/1", "memory/memory.limit_in_bytes": "3000"}, 3000),
    "no limit": ({"": "0::/", "memory.max": "max"}, 10**6),
    "nothing to read": ({}, 10**6),
}  # fmt: skip


@pytest.mark.parametrize(("files", "wanted"), GROUPS.values(), ids=GROUPS.keys())
def test_a_container_s_limit_counts_and_not_the_machine_s_memory(
    files, wanted, tmp_path, monkeypatch
):
    from trilby.kernels.machine import limits

    monkeypatch.setattr(limits, "_machine", lambda: 10**6)
    for name, text in files.items():
        path = tmp_path / ("sys/fs/cgroup" if name else "proc/self/cgroup") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    assert limits.available(str(tmp_path)) == wanted


def test_the_usual_limit_is_a_sixteenth_of_a_small_container_and_256_mib_of_a_large_one(
    monkeypatch,
):
    for memory, limit in ((1 << 30, 64 * MIB), (1 << 40, 256 * MIB), (0, 0)):
        monkeypatch.setattr(pages, "available", lambda memory=memory: memory)
        assert pages.usual.__wrapped__() == limit


@pytest.mark.skipif(
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
    reason="this process ignores interrupts, as a shell's job in the background does",
)
def test_an_interrupt_while_memory_is_put_away_is_not_lost(monkeypatch):
    def interrupted(*_):
        monkeypatch.undo()
        raise KeyboardInterrupt

    def used_and_freed():
        pages.empty_like(torch.empty(SIZE))
        threading.Event().wait(20)  # Python would say "Exception ignored in", and go on

    monkeypatch.setattr(pages, "_advise", interrupted)
    with pytest.raises(KeyboardInterrupt):
        used_and_freed()
