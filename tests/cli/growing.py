"""Helper for tests of memory: how much more a long file takes than a short one."""

import subprocess
import sys


def growth(mixer: str, small: str, large: str, *options: str, out: str = "y.npy") -> int:
    """How much the peak of resident memory grows in MiB, from `small` to `large` in one process.

    The peak is read from /proc: that of `getrusage` begins with the peak of the process that
    started this one, which hides a growth.
    """
    code = (
        "from trilby.cli import main\n"
        "peaks = []\n"
        f"for path in {[small, large]!r}:\n"
        f"    assert main(['mix', {mixer!r}, path, '-o', {out!r}, *{list(options)!r}]) == 0\n"
        "    status = open('/proc/self/status').read()\n"
        "    peaks.append(int(status.partition('VmHWM:')[2].split()[0]) >> 10)\n"
        "print(peaks[1] - peaks[0])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, timeout=100
    )
    return int(run.stdout)
