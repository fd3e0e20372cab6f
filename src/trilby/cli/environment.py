"""`trilby env`: versions, machine, and which kernels run here."""

import click

from ..env import machine
from .screen import Screen, print_json


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object, schema trilby.env/1.")
def env(as_json: bool) -> None:
    """Print versions, machine, threads, and which kernels run here and why not."""
    found = machine()
    if as_json:
        print_json("trilby.env/1", found)
        return
    screen, cache = Screen(), found["cache"]
    for name, version in found["versions"].items():
        screen.line(f"{name:11} {version or 'not installed'}")
    for name in ("python", "os", "cpu", "processors", "threads"):
        screen.line(f"{name:11} {found[name]}")
    ready = "numba, compiled at first use" if found["numba"] else "none: numba is not installed"
    screen.line(f"{'kernels cpu':11} {ready}")
    gpu = found["cuda"] or "no device"
    screen.line(f"{'kernels gpu':11} none yet: the forms other than fused run there ({gpu})")
    kept = f"{cache['programs']} programs" + ("" if cache["writable"] else ", cannot be written")
    screen.line(f"{'cache':11} {cache['folder']} ({kept})")
