"""How pictures look, and how they are written: as PNG and SVG, atomically, the same numbers giving the same file.

Agents are drawn thick in strong colours, plain heuristics thin, privileged policies dashed with hollow markers; the
colours stay apart for colour-blind readers (Okabe and Ito for the agents, Paul Tol's "muted" for the rest).
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import matplotlib
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from prune_env.storage import write_atomically

AGENT_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00")
OTHER_COLOURS = ("#332288", "#44AA99", "#AA4499", "#117733", "#CC6677", "#88CCEE", "#999933", "#882255", "#DDCC77")
MARKERS = "osD^vPX<>p*h"
DPI = 150
NARROW_WIDTH = 3.7
"""Width of a picture for small screens [inches], which browsers show as 355 pixels."""

Drawn = TypeVar("Drawn", Figure, Figure | None)

_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.7,
    "svg.hashsalt": "prune_env",  # the same numbers give the same file
}


def styled(draw: Callable[..., Drawn]) -> Callable[..., Drawn]:
    """Draw in the style of these pictures."""

    @wraps(draw)
    def wrapper(*args: Any, **kwargs: Any) -> Drawn:
        with matplotlib.rc_context(_STYLE):
            return draw(*args, **kwargs)

    return wrapper


def save_figure(figure: Figure, stem: Path) -> tuple[Path, Path]:
    """Write the figure as `stem`.png and `stem`.svg, atomically; returns both paths."""
    written = []
    for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
        path, content = stem.with_name(f"{stem.name}.{kind}"), io.BytesIO()
        with matplotlib.rc_context(_STYLE):
            figure.savefig(content, format=kind, dpi=DPI, metadata=metadata)
        write_atomically(path, content.getvalue())
        written.append(path)
    return written[0], written[1]


def darker(colour: str) -> NDArray[np.float64]:
    """The colour for text: a line of a light hue is seen, a letter is not."""
    return 0.72 * np.asarray(to_rgb(colour))
