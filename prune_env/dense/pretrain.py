"""Train several dense networks, with logs for TensorBoard and results as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from prune_env.dense.checkpoints import (
    CheckpointSpec,
    export_checkpoint,
    identify,
    is_cached,
    training_history,
)
from prune_env.dense.jobs import train_networks
from prune_env.dense.loop import Evaluation
from prune_env.described import describe
from prune_env.parallel import Engine, check_engine
from prune_env.storage import canonical_json, expanded, read_sealed, write_atomically, write_sealed

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_NOT_KNOWN = "not known: the network was in the cache"


def pretrain(
    specs: Sequence[tuple[CheckpointSpec, str]],
    out: Path,
    jobs: int = 1,
    command: str = "",
    engine: Engine = "local",
) -> list[dict[str, Any]]:
    """Train dense networks; what is in the cache is not trained again, and a killed run goes on.

    For each network a folder `out`/LABEL is written: TensorBoard's event files, the checkpoint in the form in which the
    package ships them, and "result.json".

    Args:
        specs: What to train, and what to call it.
        out: Folder of all results.
        jobs: Local processes.
        command: What made them, for the files.
        engine: Where networks are trained, see `prune_env.parallel`.

    Returns:
        For each network, in the order of `specs`, what is in its "result.json": label, seed, steps, seconds of
        training, what the evaluation that was kept said, and score and metrics on test data.

    Raises:
        ValueError: If `out` holds networks of another configuration; nothing has been trained or written by then.
        DenseTrainingError: If a network diverges.
    """
    check_engine(engine)
    out = expanded(out)
    _claim(out, specs)
    logs = {identify(spec): _Log(spec, label, out / label.replace(", ", "_")) for spec, label in specs}
    for log in logs.values():
        if is_cached(log.spec):
            tqdm.write(f"{log.label}: already there")
    results = {}
    with ExitStack() as closing:
        for log in logs.values():
            closing.callback(log.close)
        for trained in train_networks(
            [spec for spec, _ in specs],
            jobs,
            test=True,
            remarks={"command": command},
            on_evaluation=lambda spec, evaluation, best: logs[identify(spec)](evaluation, best),
            engine=engine,
        ):
            if trained.error is not None:
                raise trained.error
            log = logs[identify(trained.spec)]
            results[log.label] = _write_result(log, trained.test)
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


def _write_result(log: _Log, test: Mapping[str, float]) -> dict[str, Any]:
    """Write everything into the folder of a network that is in the cache; returns what is in its "result.json"."""
    evaluations = training_history(log.spec)
    for evaluation in evaluations:  # the network may have been trained before, or elsewhere
        log.write(evaluation)
    log.close()
    kept = max(evaluations, key=lambda evaluation: evaluation.value) if evaluations else None
    result = {
        "label": log.label,
        "seed": log.spec.seed,
        "steps": kept.step if kept else log.steps,
        "seconds": round(evaluations[-1].seconds, 1) if evaluations else None,
        **(kept.numbers if kept else {}),
        **test,
    }
    export_checkpoint(log.spec, log.folder, command=_NOT_KNOWN, result=result)
    write_atomically(log.folder / "result.json", canonical_json(result).encode())
    return result


class _Log:
    """Writes every evaluation of a network as a line and, once for each step, to TensorBoard.

    Args:
        spec: The network.
        label: What it is called.
        folder: Of TensorBoard's event files.
    """

    def __init__(self, spec: CheckpointSpec, label: str, folder: Path):
        self.spec, self.label, self.folder = spec, label, folder
        self.steps = spec.make_target().dense_training.steps
        self._writer: SummaryWriter | None = None
        self._written: set[int] | None = None

    def __call__(self, evaluation: Evaluation, best: float) -> None:
        name = next(iter(evaluation.numbers))
        tqdm.write(
            f"{self.label}: step {evaluation.step:,} of {self.steps:,}, {evaluation.seconds:.0f} s, "
            f"loss {evaluation.loss:.4g}, "
            f"{name} {evaluation.value:.4g} (best {best:.4g})"
        )
        self.write(evaluation)

    def write(self, evaluation: Evaluation) -> None:
        """To TensorBoard alone, unless an earlier run has."""
        if self._written is None:
            self._written = _steps_in(self.folder)
        if evaluation.step in self._written:
            return
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.folder))
        self._written.add(evaluation.step)
        for key, value in {"loss": evaluation.loss, **evaluation.numbers}.items():
            self._writer.add_scalar(f"dense/{key}", value, evaluation.step)

    def close(self) -> None:
        """Finish the event file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _steps_in(folder: Path) -> set[int]:
    """Steps that the event files of a folder hold."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    if not any(folder.glob("events.out.tfevents.*")):
        return set()
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {event.step for event in events.Scalars("dense/loss")} if "dense/loss" in events.Tags()["scalars"] else set()
