"""What the commands share: types of arguments, and how options are read and lines are printed."""

from __future__ import annotations

import inspect
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym
import tyro
from gymnasium.envs.registration import load_env_creator
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from prune_env.envs import ENVIRONMENTS, PruningEnv
from prune_env.markup import terminal_text
from prune_env.open_sets import parse_value, unknown
from prune_env.parallel import cores
from prune_env.storage import expanded
from prune_env.validation import Range, check_device, check_value

console = Console()

# Given once with several pairs, or several times: what is said first is not forgotten.
Options = Annotated[
    tuple[tuple[str, ...], ...],
    tyro.conf.arg(name="set", metavar="KEY=VALUE ...", aliases=["-s"]),
    tyro.conf.UseAppendAction,
]
Hyperparameters = Annotated[
    tuple[tuple[str, ...], ...],
    tyro.conf.arg(name="hyperparameters", metavar="KEY=VALUE|@FILE ...", aliases=["-p"]),
    tyro.conf.UseAppendAction,
]
Name = tyro.conf.Positional[str]


class CommandFailedError(RuntimeError):
    """A command did its work, but the work did not succeed: the command line ends with status 1."""


def say(text: str, style: str = "") -> None:
    """Print lines as they are: people copy paths and commands from them."""
    text = "\n".join(map(terminal_text, text.splitlines()))
    console.print(text, style=style, soft_wrap=True, markup=False, highlight=False)


def new_table(*titles: str, numbers: Sequence[str] = ()) -> Table:
    """A table without frames; in a narrow terminal cells are folded, never cut, since people copy them from here."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for title in titles:
        table.add_column(title, justify="right" if title in numbers else "left", overflow="fold")
    return table


def add_row(table: Table, *cells: object, style: str = "") -> None:
    """Add a row whose cells are shown as they are: names may hold brackets, which rich would read as markup."""
    table.add_row(*(Text(terminal_text(str(cell))) for cell in cells), style=style)


def command_line() -> str:
    """What the user typed, as one can type it again."""
    return shlex.join(["prune-env", *sys.argv[1:]])


# ---------------------------------------------------------------------- reading arguments
def parse_options(options: Sequence[Sequence[str]]) -> dict[str, Any]:
    """KEY=VALUE pairs, with values as in YAML.

    Raises:
        ValueError: If something is no such pair, or no value of JSON.
    """
    parsed = {}
    for option in chain.from_iterable(options):
        key, found, value = option.partition("=")
        if not found or not key.isidentifier():
            raise ValueError(f"an option is KEY=VALUE, e.g. latent_dim=8; got {option!r}")
        parsed[key] = parse_value(key, value)
    return parsed


def parse_hyperparameters(given: Sequence[Sequence[str]]) -> dict[str, Any]:
    """KEY=VALUE pairs and @FILE, a YAML file such as `tune` writes; what is said last wins.

    Raises:
        ValueError: If something is neither, or the file holds no hyperparameters.
        OSError: If the file cannot be read.
    """
    from prune_env.agents import read_hyperparams

    parsed: dict[str, Any] = {}
    for text in chain.from_iterable(given):
        parsed |= read_hyperparams(expanded(text[1:])) if text.startswith("@") else parse_options([[text]])
    return parsed


def say_whose(algo: str, options: Sequence[Sequence[str]]) -> None:
    """Print a line for each `--set` whose name an algorithm's hyperparameter has, too, such as learning_rate."""
    from prune_env.agents.hyperparameters import known_hyperparams

    for name in parse_options(options):
        if name in known_hyperparams(algo):
            print(
                f"note: --set {name} is an option of the target or environment; the hyperparameter of {algo} is "
                f"-p {name}=...",
                file=sys.stderr,
            )


def env_options(options: Sequence[Sequence[str]], device: str | None = None, **fields: Any) -> dict[str, Any]:
    """Arguments of an environment; what `--set` says wins."""
    if device is not None:
        check_device(device)
        fields["device"] = device
    return {**fields, **parse_options(options)}


def check_env(env: str) -> None:
    """Raise a ValueError if there is no pruning environment of that id; nothing is made."""
    if env in ENVIRONMENTS:
        return
    if env not in gym.registry:
        raise ValueError(unknown("environment", env, ENVIRONMENTS))
    creator = gym.spec(env).entry_point
    made = load_env_creator(creator) if isinstance(creator, str) else creator
    if inspect.isclass(made) and not issubclass(made, PruningEnv):
        raise ValueError(f"{env} is no pruning environment (known: {', '.join(ENVIRONMENTS)})")


def check_at_least(low: int, **numbers: int | Sequence[int] | None) -> None:
    """Raise a ValueError if a number that is given is smaller."""
    for name, value in numbers.items():
        for number in value if isinstance(value, Sequence) else [value]:
            if number is not None:
                check_value(f"--{name.replace('_', '-')}", number, int, Range(low))


def out_folder(path: Path) -> Path:
    """A folder to write into, whether it exists or not; what cannot be one is said before the work, not after it.

    Raises:
        ValueError: If there is a file in its place or above it, or nobody may write there.
    """
    path = expanded(path)
    try:
        there = next(part for part in (path, *path.parents, Path()) if part.exists())
    except (OSError, ValueError) as error:  # too long, a loop of links, a null character
        raise ValueError(f"{terminal_text(str(path))[:200]!r} cannot be a folder ({error})") from error
    if not there.is_dir():
        raise ValueError(f"cannot write into {path}: {there} is a file; choose another folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"cannot write into {path}: {there} is read-only; choose another folder")
    return path


def processes(jobs: int | None) -> int:
    """Local processes: as many as are asked for, or one for each core.

    Raises:
        ValueError: If fewer than one is asked for.
    """
    check_at_least(1, jobs=jobs)
    return cores() if jobs is None else jobs


def print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """A table of what each row says, with a column for each name but the seed, which is in the label."""
    titles = [title for title in rows[0] if title != "seed"]
    names = [title.replace("_", " ") for title in titles]
    table = new_table(*names, numbers=[name for name in names if name != "label"])
    for row in rows:
        add_row(table, *(f"{v:,.4g}" if isinstance(v := row[title], float) else v for title in titles))
    console.print(table)
