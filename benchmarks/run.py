"""Take the figures: `python benchmarks/run.py [--quick] [--only NAME] [--out FOLDER] [--avx2]`.

Writes `MIXER-DATE.json` and `MIXER.md` for each mixer. With `--only`, the other tables stay as they
were taken last. `--quick` tries everything out on small sizes and writes only where `--out` says
so. `--avx2` takes them as on a machine without AVX-512, into a folder of its own.
"""

import argparse
import json
import os
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from limits import rates, shorten
from table import markdown

from trilby.env import machine

RESULTS = Path(__file__).parent / "results"
PEERS = ("pandas", "polars", "numbagg", "bottleneck", "transformers")
MIXERS = {  # mixer -> title, and name -> module and function, imported when the table is taken
    "mean": (
        "Figures of the running mean",
        {
            "copy": ("copies", "single"),
            "peers": ("forward", "table"),
            "backward": ("gradient", "table"),
            "bfloat16": ("copies", "brain"),
            "step": ("step", "table"),
            "growth": ("growth", "time"),
            "stream": ("growth", "memory"),
            "imports": ("imports", "table"),
            "layouts": ("layouts", "table"),
            "mix": ("mixing", "table"),
        },
    ),
    "decay": (
        "Figures of decay",
        {
            "decay": ("fading", "forward"),
            "decay-backward": ("fading", "backward"),
            "decay-linear": ("fading", "linear"),
            "decay-token": ("fading", "token"),
            "decay-bfloat16": ("fading", "brain"),
            "decay-growth": ("fading", "growth"),
        },
    ),
    "delta": (
        "Figures of delta",
        {
            "delta": ("correcting", "forward"),
            "delta-backward": ("correcting", "backward"),
            "delta-token": ("correcting", "token"),
            "delta-bfloat16": ("correcting", "brain"),
            "delta-growth": ("correcting", "growth"),
        },
    ),
    "hybrids": (
        "Figures of hybrids of transformers",
        {
            "hybrids-prefill": ("hybrids", "prefill"),
            "hybrids-training": ("hybrids", "training"),
            "hybrids-token": ("hybrids", "token"),
            "hybrids-packed": ("training", "packed"),
            "hybrids-packed-slow": ("training", "packed_slow"),
            "hybrids-memory": ("training", "memory"),
            "hybrids-shares": ("shares", "table"),
            "hybrids-attention": ("attending", "token"),
        },
    ),
    "kda": (
        "Figures of kda",
        {
            "kda": ("correcting", "kda_forward"),
            "kda-backward": ("correcting", "kda_backward"),
            "kda-token": ("correcting", "kda_token"),
            "kda-bfloat16": ("correcting", "kda_brain"),
            "kda-growth": ("correcting", "kda_growth"),
        },
    ),
    "ema": (
        "Figures of the exponential moving average",
        {
            "ema": ("averaging", "forward"),
            "ema-backward": ("averaging", "backward"),
            "ema-halves": ("averaging", "brain"),
            "ema-growth": ("averaging", "growth"),
        },
    ),
    "weighted": (
        "Figures of the weighted mean",
        {
            "weighted": ("weighted", "forward"),
            "weighted-backward": ("weighted", "backward"),
            "weighted-halves": ("weighted", "brain"),
            "weighted-growth": ("weighted", "growth"),
        },
    ),
    "linear": (
        "Figures of linear attention",
        {
            "linear": ("linear", "forward"),
            "linear-backward": ("linear", "backward"),
            "linear-halves": ("linear", "brain"),
            "linear-growth": ("linear", "growth"),
        },
    ),
    "attention": (
        "Figures of attention",
        {
            "attention": ("looking", "forward"),
            "attention-backward": ("looking", "backward"),
            "attention-window": ("looking", "window"),
            "attention-query": ("looking", "query"),
        },
    ),
    "conv": (
        "Figures of the short convolution",
        {
            "conv": ("channels", "convolution"),
            "conv-backward": ("channels", "convolution_backward"),
            "conv-halves": ("channels", "convolution_brain"),
            "conv-growth": ("channels", "convolution_growth"),
        },
    ),
    "selective": (
        "Figures of the selective scan",
        {
            "selective": ("channels", "selective"),
            "selective-backward": ("channels", "selective_backward"),
            "selective-halves": ("channels", "selective_brain"),
            "selective-growth": ("channels", "selective_growth"),
        },
    ),
    "explorer": ("Figures of the explorer", {"explorer": ("showing", "table")}),
}
TABLES = {name: where for _, tables in MIXERS.values() for name, where in tables.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, few rounds")
    parser.add_argument("--only", action="append", choices=list(TABLES), help="may be repeated")
    parser.add_argument("--out", type=Path, help="folder for the results [benchmarks/results]")
    parser.add_argument("--avx2", action="store_true", help="as without AVX-512 [results/avx2]")
    given = parser.parse_args()
    if given.avx2:
        shorten()
    folder = given.out or (None if given.quick else RESULTS / "avx2" if given.avx2 else RESULTS)
    for mixer, (title, tables) in MIXERS.items():
        wanted = [name for name in tables if not given.only or name in given.only]
        found = latest(folder, mixer) if folder else {}
        for name in wanted:
            found[name] = taken(name, given.quick)
            print(markdown(name, found[name]), end="\n\n", flush=True)
        if folder and wanted:
            write(folder, mixer, title, {name: found[name] for name in tables if name in found})


def taken(name: str, quick: bool) -> dict[str, Any]:
    """A table with the machine it was taken on, the moment, and what else the machine did."""
    before, now = os.getloadavg()[0], datetime.now(UTC)
    module, function = TABLES[name]
    made = getattr(import_module(module), function)(quick).as_dict()
    if quick:
        made["targets"] = []  # they are about the whole sizes
    here = machine()
    del here["cache"]  # a path, and of no use to a reader
    here["versions"] |= {name: _version(name) for name in PEERS}
    here["rates"] = rates()
    load = [before, os.getloadavg()[0]]
    moment = now.isoformat(timespec="minutes")
    return made | {"quick": quick, "taken": moment, "load": load, "machine": here}


def latest(folder: Path, mixer: str) -> dict[str, Any]:
    """The tables of the newest results, each of which carries its own date."""
    files = sorted(folder.glob(f"{mixer}-*.json"))
    return json.loads(files[-1].read_text("utf-8"))["tables"] if files else {}


def write(folder: Path, mixer: str, title: str, tables: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    today = datetime.now(UTC).date().isoformat()
    told = {"schema": "trilby.benchmarks/1", "tables": tables}
    (folder / f"{mixer}-{today}.json").write_text(json.dumps(told, indent=1) + "\n", "utf-8")
    (folder / f"{mixer}.md").write_text(page(title, tables), "utf-8")


def page(title: str, tables: dict[str, Any]) -> str:
    """The Markdown page: machines first, then the tables."""
    machines = {_told(table["machine"]) for table in tables.values()}
    parts = [f"# {title}", *sorted(machines)]
    parts += [markdown(name, table) for name, table in tables.items()]
    return "\n\n".join(parts) + "\n"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _told(here: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in here["versions"].items() if number)
    return (
        f"{here['cpu']}, {here['processors']} processors, {here['threads']} threads, {here['os']}, "
        f"Python {here['python']}, {versions}."
    )


if __name__ == "__main__":
    main()
