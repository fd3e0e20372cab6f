"""A rank that fails: the others end in time, with a sentence that names it and the cause."""

import pytest

from tests.comm.failing import CASES, KILLED, STALL, TIME
from tests.comm.launch import SECONDS, on_ranks
from trilby.comm.faults import GRACE

STOP = "; the others stop, and their group cannot be used any more"
LATE = "did not arrive before the time of the group was over"
CAUSES = {
    "raises": "raises MemoryError: no more of it",
    "stalls": LATE,
    "comes_late": LATE,
    "stalls_backward": LATE,
    "raises_backward": LATE,
    "dies": "has ended",
    "dies_backward": "has ended",
}
OWN = ("raises", "raises_backward")
BUSY = 5.0
"""Seconds that a busy machine may take besides."""


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 60)
def test_the_others_name_the_rank_and_the_cause_in_time():
    every = on_ranks(5, "tests.comm.failing:all_cases", lost=len(KILLED))
    for name, (_, faulty) in CASES.items():
        where = "mean.shard, backward" if name.endswith("_backward") else "mean.shard"
        told = f"RankError: {where}: rank {faulty} {CAUSES[name]}{STOP}"
        for rank, found in enumerate(every):
            said, seconds = found[name]
            own = rank == faulty and name in OWN
            assert said == ("MemoryError: no more of it" if own else told), (rank, name)
            wait = (TIME if CAUSES[name] == LATE else 0.0) + GRACE
            wait += STALL if rank == faulty else 0.0
            assert seconds < wait + BUSY, (rank, name)
