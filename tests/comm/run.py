"""Everything that one group of ranks is asked, so that each size of a group starts once."""

import torch.distributed as dist

from tests.comm import rings
from tests.comm.cases import all_wrong
from tests.comm.mutants import missed
from tests.comm.order import out_of_order
from tests.comm.probes import all_probes


def complaints(few: bool, *probes: str) -> list[str]:
    """What is wrong on this rank: cases, probes, and mutants that were not caught.

    Args:
        few: fewer cases, for every day.
        probes: which of them; all of them, if none is named.
    """
    found = [*all_wrong(few), *all_probes(*probes), *rings.all_wrong(few), *out_of_order(few)]
    return found + missed(few) if dist.get_world_size() > 1 else found
