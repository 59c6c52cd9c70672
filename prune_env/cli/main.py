"""Run the command line; whatever goes wrong ends in a line that says what, and in an exit status that says which kind.

2: the user's error, in one line. 1: a command that did not succeed. 130: interrupted; the same command goes on.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable

import gymnasium as gym
import tyro

import prune_env
from prune_env.cli.bench import bench, evaluate, report
from prune_env.cli.demo import demo
from prune_env.cli.groups import compare_groups, groups
from prune_env.cli.listing import list_names
from prune_env.cli.pretrain import pretrain
from prune_env.cli.prune import latency, prune
from prune_env.cli.reproduce import reproduce
from prune_env.cli.sensitivity import sensitivity
from prune_env.cli.shared import CommandFailedError
from prune_env.cli.train import train
from prune_env.cli.tune import tune
from prune_env.cli.video import video
from prune_env.dense import DenseTrainingError
from prune_env.export.onnx import OnnxError
from prune_env.markup import terminal_text
from prune_env.parallel import WorkerLostError
from prune_env.targets import DataError

COMMANDS: dict[str, Callable[..., None]] = {
    "list": list_names,
    "prune": prune,
    "latency": latency,
    "groups": groups,
    "compare-groups": compare_groups,
    "sensitivity": sensitivity,
    "pretrain": pretrain,
    "train": train,
    "tune": tune,
    "eval": evaluate,
    "bench": bench,
    "report": report,
    "video": video,
    "demo": demo,
    "reproduce": reproduce,
}
app = tyro.extras.SubcommandApp()
for _name, _command in COMMANDS.items():
    app.command(name=_name)(_command)

_ABOUT = """Learned pruning of networks made of several components. `prune-env COMMAND --help` explains a command,
`prune-env list` shows everything that has a name, `prune-env --version` prints the version."""
_USER_ERRORS = (
    ValueError,
    DataError,
    DenseTrainingError,
    WorkerLostError,
    OSError,
    ImportError,
    NotImplementedError,
    OnnxError,
    gym.error.Error,
)
_ISSUES = "https://github.com/prune-env/prune_env/issues"


def main() -> None:
    """Run the command line of this process."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        print(f"prune-env {prune_env.__version__}")
        return
    try:
        app.cli(prog="prune-env", description=_ABOUT, use_underscores=False)
    except BrokenPipeError:  # such as `prune-env list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None
    except CommandFailedError as error:
        _end(" ".join(str(error).split()), 1)
    except _USER_ERRORS as error:
        _end(" ".join(str(error).split()), 2)
    except KeyboardInterrupt:
        _end("interrupted; run the same command again to go on", 130)
    except Exception as error:
        traceback.print_exc()
        _end(f"internal error ({type(error).__name__}: {' '.join(str(error).split())}); please report it: {_ISSUES}", 1)


def _end(message: str, status: int) -> None:
    print(f"prune-env: {terminal_text(message)}", file=sys.stderr)
    raise SystemExit(status) from None
