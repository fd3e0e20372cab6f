"""`trilby env`: versions, machine, and which kernels run here."""

import click

from ..env import machine
from ..shown.lines import line
from .screen import Screen, print_json


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object, schema trilby.env/1.")
def env(as_json: bool) -> None:
    """Print versions, machine, threads, and which kernels run here and why not."""
    from ..kernels.machine import memory, team

    found = machine()
    crew, held = team.found(), memory.memory()
    found["team"] = {"torch": crew.library is not None, "why": crew.why}
    found["memory"] = held._asdict()
    if as_json:
        print_json("trilby.env/1", found)
        return
    screen, cache = Screen(), found["cache"]

    def say(name: str, told: object) -> None:
        screen.said(line(f"{name:11} {told}"), " " * 12)

    for name, version in found["versions"].items():
        say(name, version or "not installed")
    for name in ("python", "os", "cpu", "processors", "threads"):
        say(name, found[name])
    say("run on", f"those of torch ({crew.why})" if crew.library else f"a pool ({crew.why})")
    say("memory", f"{held.kept >> 20} of at most {held.limit >> 20} MiB kept for results")
    why = found["kernels"]["why"]
    ready = (
        f"none, mixers run as torch operations: {why}" if why else "numba, compiled at first use"
    )
    say("kernels cpu", ready)
    gpu = found["cuda"] or "no device"
    say("kernels gpu", f"none yet: the forms other than fused run there ({gpu})")
    kept = f"{cache['programs']} programs" + ("" if cache["writable"] else ", cannot be written")
    say("cache", f"{cache['folder']} ({kept})")
