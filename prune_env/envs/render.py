"""Pictures of an episode: the network's groups, how wide they still are, how much they matter, and the score."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle
from typing import Any

import gymnasium as gym
import numpy as np

from prune_env.envs.objectives import Terms
from prune_env.markup import plot_text, terminal_text


@dataclass(frozen=True)
class Frame:
    """What a picture shows; G groups.

    Attributes:
        title: Target and network.
        groups: Names [G].
        kinds: "component" or "coupling" [G].
        widths: Present channels, int [G].
        dense_widths: Channels of the dense network, int [G].
        measures: Names of the M importance measures shown.
        importance: Smoothed importance, [M, G].
        round: Rounds that are over.
        rounds: Rounds of the episode.
        terms: Score and sparsities.
    """

    title: str
    groups: tuple[str, ...]
    kinds: tuple[str, ...]
    widths: np.ndarray
    dense_widths: np.ndarray
    measures: tuple[str, ...]
    importance: np.ndarray
    round: int
    rounds: int
    terms: Terms

    @property
    def caption(self) -> str:
        """Score and sparsity in a line."""
        budget = f"   budget {self.terms.budget:.0%} of {self.terms.budget_unit}" if self.terms.budget else ""
        removed = ", ".join(f"{cost} -{share:.1%}" for cost, share in self.terms.sparsities.items())
        return f"round {self.round}/{self.rounds}   retained score {self.terms.retained:.3f}   {removed}{budget}"


def to_text(frame: Frame) -> str:
    """A table for the terminal: one line for each group, with a bar of the channels that are left."""
    names = [terminal_text(group) for group in frame.groups]
    name = max(map(len, (*names, "group")))
    lines = [
        terminal_text(frame.title),
        frame.caption,
        f"{'group':{name}}  kind       channels   {'left':20}  " + "  ".join(f"{m:>9}" for m in frame.measures),
    ]
    for g, group in enumerate(names):
        bar = "█" * max(1, round(20 * frame.widths[g] / frame.dense_widths[g]))
        numbers = "  ".join(f"{value:9.2e}" for value in frame.importance[:, g])
        lines.append(
            f"{group:{name}}  {frame.kinds[g]:9}  {frame.widths[g]:4}/{frame.dense_widths[g]:<4}  {bar:░<20}  {numbers}"
        )
    return "\n".join(lines) + "\n"


def draw(frame: Frame) -> np.ndarray:
    """The picture as uint8 [height, width, 3]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import, and few environments are rendered
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 4.5), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True, gridspec_kw={"width_ratios": [3, 2]})
    rows = np.arange(len(frame.groups))
    colours = ["#d95f02" if kind == "coupling" else "#1b6ca8" for kind in frame.kinds]
    left.barh(rows, frame.dense_widths, color="#e3e6ea")
    left.barh(rows, frame.widths, color=colours)
    for row, (width, dense) in enumerate(zip(frame.widths, frame.dense_widths, strict=True)):
        left.text(dense, row, f" {width}/{dense}", va="center", fontsize=8)
    names = [plot_text(group) for group in frame.groups]
    left.set_yticks(rows, [f"{n} *" if k == "coupling" else n for n, k in zip(names, frame.kinds, strict=True)])
    left.invert_yaxis()
    left.set_xlim(0, frame.dense_widths.max() * 1.2)
    left.set_xlabel("channels present / dense   (* coupling group)")
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.log10(frame.importance / frame.importance.mean(axis=1, keepdims=True))
    relative = np.nan_to_num(relative, neginf=-3.0, posinf=3.0)
    for measure, values, marker in zip(frame.measures, relative, cycle("osD^v*"), strict=False):
        right.plot(values, rows, marker, markersize=5, label=plot_text(measure), alpha=0.8)
    right.axvline(0, color="#888", linewidth=0.8)
    right.set_xlabel("log10 importance / mean of the groups")
    right.legend(fontsize=8, loc="best")
    figure.suptitle(f"{plot_text(frame.title)}\n{frame.caption}", fontsize=10)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


class Window:
    """A pygame window that shows frames."""

    def __init__(self) -> None:
        try:
            import pygame
        except ImportError as error:
            raise gym.error.DependencyNotInstalled(
                "render_mode='human' needs pygame: pip install 'gymnasium[classic-control]'"
            ) from error
        self._pygame = pygame
        pygame.init()
        self._clock = pygame.time.Clock()
        self._screen: Any = None

    def show(self, picture: np.ndarray, fps: int) -> None:
        """Put a picture, uint8 [height, width, 3], on the screen."""
        if self._screen is None:
            self._screen = self._pygame.display.set_mode((picture.shape[1], picture.shape[0]))
            self._pygame.display.set_caption("prune_env")
        self._pygame.event.pump()
        self._screen.blit(self._pygame.surfarray.make_surface(picture.swapaxes(0, 1)), (0, 0))
        self._pygame.display.flip()
        self._clock.tick(fps)

    def close(self) -> None:
        """Close the window."""
        self._pygame.display.quit()
        self._pygame.quit()


def show(window: Window | None, frame: Frame, fps: int) -> Window:
    """Show a frame, in a new window if there is none yet."""
    window = window or Window()
    window.show(draw(frame), fps)
    return window
