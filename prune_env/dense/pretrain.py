"""Training several dense networks at once, with logs to look at while they learn and results to keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from prune_env.dense.checkpoints import (
    CheckpointSpec,
    export_checkpoint,
    identify,
    is_cached,
    load_checkpoint,
    training_history,
)
from prune_env.dense.loop import Evaluation
from prune_env.described import describe
from prune_env.parallel import map_unordered
from prune_env.storage import canonical_json, expanded, read_sealed, write_atomically, write_sealed
from prune_env.targets import Target

_NOT_KNOWN = "not known: the network was in the cache"


@dataclass(frozen=True)
class _Task:
    spec: CheckpointSpec
    label: str
    out: Path
    command: str


def pretrain(
    specs: Sequence[tuple[CheckpointSpec, str]], out: Path, jobs: int = 1, command: str = ""
) -> list[dict[str, Any]]:
    """Train dense networks in `jobs` processes; what is in the cache is not trained again, and a killed run goes on.

    For each network a folder `out`/LABEL is written: TensorBoard's event files, the checkpoint in the form in which the
    package ships them, and "result.json".

    Args:
        specs: What to train, and what to call it.
        out: Folder of all results.
        jobs: Processes.
        command: What made them, for the files.

    Returns:
        For each network, in the order of `specs`, what is in its "result.json": label, seed, steps, seconds of
        training, what the evaluation that was kept said, and score and metrics on test data.

    Raises:
        ValueError: If `out` holds networks of another configuration; nothing has been trained or written by then.
    """
    out = expanded(out)
    _claim(out, specs)
    tasks = [_Task(spec, label, out, command) for spec, label in specs]
    results = dict(map_unordered(_pretrain_one, tasks, jobs, "dense networks"))
    return [results[label] for _, label in specs]


def _claim(out: Path, specs: Sequence[tuple[CheckpointSpec, str]]) -> None:
    """Write into the folder what it is for; it may be for fewer of the same networks so far."""
    path = out / "config.json"
    config = {label: describe({"network": identify(spec), **asdict(spec)}, label) for spec, label in specs}
    held = read_sealed(path, "delete it, and give the same command again") if path.is_file() else {}
    if any(config.get(label) != network for label, network in held.items()):
        raise ValueError(
            f"{out} holds networks of another configuration ({path}); give another folder with --out, or delete it to "
            "start anew"
        )
    write_sealed(path, config)


def _pretrain_one(task: _Task) -> tuple[str, dict[str, Any]]:
    folder = task.out / task.label.replace(", ", "_")
    if is_cached(task.spec):
        tqdm.write(f"{task.label}: already there")
        train_state = load_checkpoint(task.spec)
    else:
        with _Log(folder, task.label, task.spec.make_target()) as log:
            train_state = load_checkpoint(task.spec, progress=False, callback=log, remarks={"command": task.command})
    evaluations = training_history(task.spec)
    if evaluations and not any(folder.glob("events.out.tfevents.*")):  # trained before, or elsewhere
        with _Log(folder, task.label, train_state.target) as log:
            for evaluation in evaluations:
                log.write(evaluation)
    kept = max(evaluations, key=lambda evaluation: evaluation.value) if evaluations else None
    result = {
        "label": task.label,
        "seed": task.spec.seed,
        "steps": kept.step if kept else train_state.target.dense_training.steps,
        "seconds": round(evaluations[-1].seconds, 1) if evaluations else None,
        **(kept.numbers if kept else {}),
        "test_score": train_state.target.score(train_state.model, "test"),
        **{f"test_{name}": value for name, value in train_state.target.metrics(train_state.model, "test").items()},
    }
    export_checkpoint(task.spec, folder, command=_NOT_KNOWN, result=result)
    write_atomically(folder / "result.json", canonical_json(result).encode())
    return task.label, result


class _Log:
    """Writes every look as a line and to TensorBoard."""

    def __init__(self, folder: Path, label: str, target: Target):
        self._folder, self._label, self._steps = folder, label, target.dense_training.steps

    def __enter__(self) -> _Log:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(self._folder))
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def __call__(self, evaluation: Evaluation, best: float) -> None:
        name = next(iter(evaluation.numbers))
        tqdm.write(
            f"{self._label}: step {evaluation.step:,} of {self._steps:,}, {evaluation.seconds:.0f} s, "
            f"loss {evaluation.loss:.4g}, "
            f"{name} {evaluation.value:.4g} (best {best:.4g})"
        )
        self.write(evaluation)

    def write(self, evaluation: Evaluation) -> None:
        """To TensorBoard alone."""
        for key, value in {"loss": evaluation.loss, **evaluation.numbers}.items():
            self._writer.add_scalar(f"dense/{key}", value, evaluation.step)
