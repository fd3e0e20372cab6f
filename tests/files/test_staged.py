"""A staged file appears complete or not at all."""

import os
import stat

import pytest

from trilby.errors import FileError
from trilby.files import Staged


def test_nothing_is_seen_before_it_is_whole(tmp_path):
    path = tmp_path / "y.npy"
    path.write_bytes(b"old")
    with Staged(str(path)) as staged:
        staged.write(b"new")
        staged.seal()
        assert path.read_bytes() == b"old"
        (temporary,) = set(os.listdir(tmp_path)) - {"y.npy"}
        assert temporary.startswith(".y.npy.trilby-")
        assert temporary.endswith(".tmp")
        staged.appear()
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["y.npy"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_nothing_behind(tmp_path, error):
    path = tmp_path / "y.npy"
    with pytest.raises(error), Staged(str(path)) as staged:  # noqa: PT012
        staged.write(b"half")
        raise error
    assert os.listdir(tmp_path) == []


def test_the_mode_and_the_link_are_kept(tmp_path):
    path, link = tmp_path / "y.npy", tmp_path / "link.npy"
    path.write_bytes(b"old")
    path.chmod(0o640)
    link.symlink_to(path)
    with Staged(str(link)) as staged:
        staged.write(b"new")
        staged.seal()
        staged.appear()
    assert link.is_symlink()
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("size", [10, 1 << 20])
def test_a_full_disk_is_one_sentence(tmp_path, size):
    path = tmp_path / "y.npy"
    with pytest.raises(FileError) as caught, Staged(str(path)) as staged:  # noqa: PT012
        staged.file.close()
        staged.file = open("/dev/full", "wb")  # noqa: SIM115  # closed by the block
        staged.write(b"x" * size)
        staged.seal()
    assert "(No space left on device); the file is unchanged; free some space" in str(caught.value)
    assert os.listdir(tmp_path) == []
