"""Forward, float32, against whatever else computes a running mean."""

import peers
from inputs import drawn, setup
from table import OURS, Table, at_least, judged, rows

import trilby
from trilby.bench import interleaved


def table(quick: bool) -> Table:
    """Ours beside every peer; each one's answer is compared with ours before it is timed."""
    x = drawn(quick)
    verdicts = judged(x)
    ours, ways = trilby.mean(x)[0], {OURS: lambda: trilby.mean(x)}
    told = {OURS: {"layout": peers.BTC, "largest difference from ours": 0.0}}
    asked = {}
    for peer in peers.every(x):
        apart = peers.error(peer, ours, x)
        told[peer.name] = {"layout": peer.layout, "largest difference from ours": apart}
        ways[peer.name], asked[peer.name] = peer.way, peer.asked
    timings = interleaved(ways, rounds=2 if quick else 9, warmup=1)
    targets = [
        at_least(f"times faster than {name}", least, timings.times(OURS, name))
        for name, least in asked.items()
    ]
    title = "Forward against the peers"
    return Table(title, setup(x, timings.rounds), rows(timings, told=told), targets, verdicts)
