"""Objects that Python gives a docstring of their type are documented with their own words.

A field of a named tuple would say "Alias for field number 0"; it gets the comment beside it. A
constant would be described as what a tuple is; it gets the text below it.
"""

import inspect
import re
import sys
from typing import Any

from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer


def field(name: str) -> str:
    """The comment beside a field, as `trilby.mixers.mean.State.total`; empty if there is none."""
    module, kind, attribute = name.rsplit(".", 2)
    source = inspect.getsource(getattr(sys.modules[module], kind))
    found = re.search(rf"^    {attribute}: [^#\n]*#(?: type: ignore\S* *#)? *(.+)$", source, re.M)
    return found[1] if found else ""


def constant(name: str, value: Any) -> list[str]:
    """The text below a constant in the module that defines it."""
    attribute = name.rpartition(".")[2]
    for module, found in [*sys.modules.items()]:
        if module.startswith("trilby.") and found.__dict__.get(attribute) is value:
            told = ModuleAnalyzer.for_module(module).find_attr_docs().get(("", attribute))
            if told:
                return told
    return []


def own(
    app: Sphinx,  # noqa: ARG001
    what: str,
    name: str,
    value: Any,
    options: Any,  # noqa: ARG001
    lines: list[str],
) -> None:
    """Replace a docstring that belongs to the type."""
    if lines and lines[0].startswith("Alias for field number"):
        said = field(name)
        lines[:] = [said[:1].upper() + said[1:]]
    elif what == "data":
        lines[:] = constant(name, value) or lines


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", own)
    return {"parallel_read_safe": True}
