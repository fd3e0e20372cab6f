"""Everything that one group of ranks is asked, so that each size of a group starts once."""

import time

import torch.distributed as dist

from tests.comm.cases import all_wrong
from tests.comm.mutants import MUTANTS, missed
from tests.comm.probes import all_probes


def complaints(few: bool, *probes: str) -> list[str]:
    """What is wrong on this rank: cases, probes, and mutants that were not caught.

    Args:
        few: fewer cases, for every day.
        probes: which of them; all of them, if none is named.
    """
    times = [time.perf_counter()]
    found = all_wrong(few)
    times.append(time.perf_counter())
    found += all_probes(*probes)
    times.append(time.perf_counter())
    if dist.get_world_size() > 1:
        found += missed(few)
    times.append(time.perf_counter())
    print([round(b - a, 1) for a, b in zip(times, times[1:])])
    return found
