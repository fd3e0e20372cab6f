"""The target of `trilby check`: an importable name, a file or a checkpoint."""

import importlib.util
import inspect
import pkgutil
import re
import sys
from pathlib import Path
from typing import Any

import click

from ..errors import FileError
from .words import unknown

PAST = (
    "cache",
    "past_key_values",
    "cache_params",
)  # names of the cache in transformers, newest first
PADDING = "attention_mask"
SIZES = re.compile(r"^\s*B=(\d+)\s*,\s*T=(\d+)\s*(?:,\s*C=(\d+)\s*)?$")


def loaded(target: str) -> Any:
    """The class, function or module that a target names; a file is run to find it.

    `package.module:name`, `path/to/file.py:name`, or `hf:DIRECTORY`, a checkpoint on disk whose
    weights are read without pickle.
    """
    place, colon, name = target.rpartition(":")
    if place == "hf":
        return checkpoint(Path(name))
    if not colon or not name or not place:
        raise click.UsageError(
            f"{target!r} is no target; write a mixer, gallery:NAME, package.module:name, "
            "path/to/file.py:name or hf:DIRECTORY"
        )
    module = _file(Path(place)) if place.endswith(".py") else _module(place)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            known = [n for n in vars(module) if not n.startswith("_") and callable(vars(module)[n])]
            raise click.UsageError(unknown(f"name in {place}", name, known[:20]))
        found = getattr(found, part)
    return found


def _command() -> str:
    """The command that was asked for, which an error names."""
    context = click.get_current_context(silent=True)
    return str(context.info_name) if context else "trilby"


def _module(name: str) -> Any:
    sys.path.insert(0, "")  # the current folder, as `python -m` does
    try:
        return pkgutil.resolve_name(name)
    except Exception as problem:
        told = f"{type(problem).__name__}: {' '.join(str(problem).split())}"
        raise click.UsageError(f"{name} cannot be imported, it raises {told}") from problem
    finally:
        sys.path.remove("")


def _file(path: Path) -> Any:
    if not path.is_file():
        raise FileError(f"{_command()}: {path} is not a file; give the path of a .py file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise FileError(f"{_command()}: {path} cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)
    try:
        spec.loader.exec_module(module)
    except Exception as problem:
        told = f"{type(problem).__name__}: {' '.join(str(problem).split())}"
        raise click.UsageError(f"{path} was run and raises {told}") from problem
    return module


def checkpoint(folder: Path) -> Any:
    """The model of a checkpoint on disk, read without pickle."""
    from ..transformers.checkpoints import model_in

    return model_in(_command(), folder)


def quiet() -> None:
    """Neither progress bars nor the warning that references are slow, from transformers."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def usual(model: Any) -> dict[str, Any]:
    """What the files of a checkpoint say: its vocabulary, its cache, its padding mask."""
    from ..streaming import by_past

    takes = inspect.signature(model.forward).parameters
    past = next((name for name in PAST if name in takes), None)
    found: dict[str, Any] = {"vocabulary": model.config.get_text_config().vocab_size}
    if past is not None:
        found["carry"] = by_past(past)
    return {**found, **({"padding": PADDING} if PADDING in takes else {})}


def drawn(sizes: str, tokens: int | None, time_axis: int = 1) -> Any:
    """The example that `--example "B=2,T=16,C=8"`, `--tokens N` and `--time-axis` describe."""
    import torch

    found = SIZES.match(sizes)
    if found is None:
        raise click.UsageError(f"--example is {sizes!r}, expected sizes like B=2,T=16,C=8")
    B, T, C = (int(n) if n else None for n in found.groups())
    assert B is not None
    assert T is not None
    rng = torch.Generator().manual_seed(0)
    if tokens is not None:
        x = torch.randint(0, tokens, (B, T), generator=rng)
    else:
        x = torch.randn(B, T, C or 8, generator=rng)
    if time_axis == 0:
        return x.transpose(0, 1).contiguous()
    return x.movedim(1, min(time_axis, x.ndim - 1)).contiguous()
