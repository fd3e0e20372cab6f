"""The page about a sequence longer than a machine, followed in two network namespaces."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.comm.torchrun import WAIT
from tests.house.tree import ROOT

PAGE = ROOT / "docs" / "howto" / "longer.md"
HOSTS = ("trilby-a", "trilby-b")
NAMED = re.compile(r"Save this as `(\S+)`")


def ip(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run(["ip", "netns", *words], capture_output=True, text=True, check=False)


def obstacle() -> str:
    """Why no namespaces can be made here; empty if they can."""
    if not shutil.which("ip"):
        return "there is no command ip"
    if any(host in ip("list").stdout.split() for host in HOSTS):
        return f"a namespace {HOSTS} is there already"
    made = ip("add", HOSTS[0])
    ip("delete", HOSTS[0])
    return made.stderr.strip()


def lines(text: str) -> list[str]:
    """Sorted, as two processes print them; the line ends of both may come after both lines."""
    return sorted(line for line in re.split(r"\n|(?=rank \d:)", text) if line)


@pytest.mark.long
@pytest.mark.timeout(5 * WAIT)
def test_the_page_is_right_word_for_word(tmp_path, monkeypatch):
    if why := obstacle():
        pytest.skip(f"network namespaces: {why}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(
        "PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    )
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    text = PAGE.read_text(encoding="utf-8")
    printed, compared = "", 0
    try:
        for language, code in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S):
            if language == "python":
                Path(NAMED.findall(text)[0]).write_text(code)
            elif language == "sh":
                run = subprocess.run(
                    ["bash", "-e", "-c", code], capture_output=True, text=True, timeout=WAIT,
                    check=False,
                )  # fmt: skip
                assert run.returncode == 0, run.stderr
                printed = run.stdout
            else:
                assert lines(printed) == lines(code)
                compared += 1
    finally:
        for host in HOSTS:
            ip("delete", host)
    assert compared == 3
    assert {path.name for path in Path("run").iterdir()} == {"step-000004", "step-000008"}
