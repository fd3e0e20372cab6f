"""The page as a widget of a notebook, which Python may steer and ask what is chosen."""

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from ..errors import CallError
from .packing import SMALL
from .page import HEIGHT, page

if TYPE_CHECKING:
    from .explored import Explored


def widget(explored: "Explored") -> Any:
    """A widget of an `Explored`; see `Explored.widget`."""
    kind = _kind()
    chosen = next((i for i, one in enumerate(explored.triangles) if one.ahead), 0)
    return kind(
        page=page(explored, SMALL),
        height=HEIGHT,
        row=explored.t,
        shown=explored.triangles[chosen].name,
    )


@cache
def _kind() -> Any:
    """The class; anywidget is imported when the first widget is made."""
    try:
        import anywidget
        import traitlets
    except ImportError as error:
        raise CallError(
            f"explore: widget() needs anywidget ({error}); pip install 'trilby[widget]'"
        ) from error

    class Widget(anywidget.AnyWidget):
        """The page; `row`, `column` and `shown` are what is chosen in it, both ways.

        Attributes:
            row: the position that reads.
            column: the position that is read.
            shown: the name of the triangle.
        """

        _esm = files(__package__).joinpath("widget.js").read_text(encoding="utf-8")
        page = traitlets.Unicode().tag(sync=True)
        height = traitlets.Int().tag(sync=True)
        row = traitlets.Int().tag(sync=True)
        column = traitlets.Int().tag(sync=True)
        shown = traitlets.Unicode().tag(sync=True)

    return Widget
