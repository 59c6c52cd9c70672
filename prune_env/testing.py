"""Checks of user-defined targets and policies: every problem found, in words."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from prune_env.benchmark.policies import Policy, make_policy
from prune_env.envs import PruningEnv
from prune_env.groups import Grouping, Surgeon, discover, idle_components
from prune_env.storage import canonical_json
from prune_env.targets import Split, Target, make_target

# Attributes of the first version, which nothing reads any more, and what replaces them.
_REPLACED = {
    "dense_steps": "dense_training = DenseTraining(steps=...)",
    "anneal_after": "dense_training = DenseTraining(anneal_after=...)",
    "steps_per_epoch": "dense_training = DenseTraining(steps_per_epoch=...)",
    "eval_every": 'dense_training = DenseTraining(keep="best", eval_every=...)',
}
_LONG_ENOUGH = 500  # batches after which a stream that has not ended is taken to be endless


class CheckError(AssertionError):
    """A target or a policy does not keep its contract; the message lists every problem found."""


@dataclass
class TargetReport:
    """What `check_target` found.

    Attributes:
        problems: What is wrong, in words.
        notes: What is allowed, but may surprise.
        grouping: What can be pruned, and what is locked and why; None if it never came to that.
    """

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    grouping: Grouping | None = None

    def __str__(self) -> str:
        lines = [f"problem: {p}" for p in self.problems] + [f"note: {n}" for n in self.notes]
        if self.grouping is not None:
            lines.append(f"{len(self.grouping)} groups can be pruned:")
            lines += [f"  {g.name}: {g.channels} channels in {', '.join(g.components)}" for g in self.grouping]
            lines += [f"  {g.name}: locked, since {g.reason}" for g in self.grouping.locked]
        return "\n".join(lines)


def check_target(name: str | Target, **options: Any) -> TargetReport:
    """Check everything that the environment asks of a target.

    Args:
        name: Name of a registered target, or a target.
        **options: Its options.

    Returns:
        What can be pruned, and notes.

    Raises:
        CheckError: If something is wrong; all problems that could be found are listed, the earliest first.
    """
    report = TargetReport()
    target = name if isinstance(name, Target) else make_target(name, **options)
    for _ in _stages(target, report):
        if report.problems:  # later stages stand on the earlier ones
            raise CheckError(str(report))
    return report


def _stages(target: Target, report: TargetReport) -> Iterator[None]:
    _attempt(report, "the target cannot be pickled", lambda: pickle.loads(pickle.dumps(target)))
    _attempt(report, "settings() must be JSON", lambda: canonical_json(target.settings()))
    if target.dense_training is Target.dense_training:  # a target that sets it may have attributes of any name
        report.problems += [f"nothing reads {old}: use {new}" for old, new in _REPLACED.items() if hasattr(target, old)]
    model = _check_build(target, report)
    yield
    _check_trace(target, model, report)
    yield
    _check_deploy(target, model, report)
    yield
    report.grouping = _attempt(
        report, "no groups could be found", lambda: discover(model, target.trace, target.components)
    )
    if report.grouping is not None and not len(report.grouping):
        reasons = "; ".join(f"{g.name}: {g.reason}" for g in report.grouping.locked)
        report.problems.append(f"no group can be pruned: {reasons}")
    yield
    _check_batches(target, report)
    yield
    _check_loss(target, model, report)
    yield
    _check_training(target, model, report)
    yield
    _check_score(target, model, report)
    yield
    _check_cut(target, model, report)
    yield
    _check_variants(target, report)
    yield


def _attempt(report: TargetReport, problem: str, action: Callable[[], Any]) -> Any:
    try:
        return action()
    except Exception as error:  # whatever the user's code raises is told, not thrown
        report.problems.append(f"{problem}: {type(error).__name__}: {error}")
        return None


def _check_build(target: Target, report: TargetReport) -> nn.Module:
    def build() -> nn.Module:
        return target.build(torch.Generator().manual_seed(0))

    model = _attempt(report, "build(generator) fails", build)
    if not isinstance(model, nn.Module):
        report.problems.append(f"build(generator) must return an nn.Module; got {type(model).__name__}")
        return nn.Module()
    children = dict(model.named_children())
    missing = [name for name in target.components if name not in children]
    if not target.components or missing:
        report.problems.append(
            f"components must name children of the model; {missing or 'none given'} not among {list(children)}"
        )
    outside = [n for n, _ in model.named_parameters() if n.partition(".")[0] not in target.components]
    if outside:
        report.notes.append(
            "channels of layers outside all components are never removed, though such layers lose the inputs that a "
            f"component no longer produces: {', '.join(outside[:5])}"
        )
    twice = [name for i, name in enumerate(target.components) if name in target.components[:i]]
    if twice:
        report.problems.append(f"components are given more than once: {', '.join(twice)}")
    again = build().state_dict()
    if any(not torch.equal(tensor, again[name]) for name, tensor in model.state_dict().items()):
        report.problems.append(
            "build(generator) must be reproducible: draw initial weights with the generator that is passed, not with "
            "torch's global one"
        )
    return model


def _check_trace(target: Target, model: nn.Module, report: TargetReport) -> None:
    model.eval()
    outputs = _attempt(report, "trace(model) fails", lambda: target.trace(model))
    tensors = list(_tensors(outputs))
    if not report.problems and not tensors:
        report.problems.append("trace(model) must return the outputs of the model, a tensor or a nest of tensors")
    if any(not bool(torch.isfinite(t).all()) for t in tensors if t.is_floating_point()):
        report.problems.append("trace(model) returns values that are not finite")


def _check_deploy(target: Target, model: nn.Module, report: TargetReport) -> None:
    idle = _attempt(report, "deploy(model) fails", lambda: idle_components(model, target.deploy, target.components))
    if idle:
        report.notes.append(f"deploy(model) does not run these components, which cost nothing: {', '.join(idle)}")


def _tensors(nest: Any) -> Iterator[Tensor]:
    if isinstance(nest, Tensor):
        yield nest
    elif isinstance(nest, dict):
        for value in nest.values():
            yield from _tensors(value)
    elif isinstance(nest, (tuple, list)):
        for value in nest:
            yield from _tensors(value)


def _check_batches(target: Target, report: TargetReport) -> None:
    def first_and_last() -> tuple[Any, Any]:
        batches = target.batches(torch.Generator().manual_seed(0))
        try:
            first = last = next(batches)
            for _ in range(min(target.dense_training.steps_per_epoch, _LONG_ENOUGH)):
                last = next(batches)
        except StopIteration:
            raise ValueError("it must be endless, and begin another epoch where one ends") from None
        return first, last

    one, other = (_attempt(report, "batches(generator) fails", first_and_last) for _ in range(2))
    if report.problems:
        del report.problems[1:]  # the second attempt has failed like the first
    elif any(not torch.equal(a, b) for a, b in zip(_tensors(one), _tensors(other), strict=True)):
        report.problems.append(
            "batches(generator) must be reproducible: draw with the generator that is passed, not with torch's own"
        )


def _check_loss(target: Target, model: nn.Module, report: TargetReport) -> None:
    def compute() -> Any:
        batch = next(target.batches(torch.Generator().manual_seed(0)))
        target.collect(model.train(), batch)
        return target.loss(model, batch)

    loss = _attempt(report, "loss(model, batch) fails", compute)
    if report.problems:
        return
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        got = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        report.problems.append(f"loss(model, batch) must return a scalar tensor; got {got}")
    elif not math.isfinite(value := float(loss.detach())):
        report.problems.append(f"the loss of a fresh model is {value}")


def _check_training(target: Target, model: nn.Module, report: TargetReport) -> None:
    optimizers = _attempt(report, "optimizers(model) fails", lambda: target.optimizers(model))
    if optimizers is None:
        return
    batches = target.batches(torch.Generator().manual_seed(0))
    model.train()
    called: list[torch.optim.Optimizer] = []
    without: set[str] = set()

    def after_backward(optimizer: torch.optim.Optimizer) -> None:
        called.append(optimizer)
        names = {id(p): name for name, p in model.named_parameters()}
        mine = [p for settings in optimizer.param_groups for p in settings["params"]]
        without.update(names[id(p)] for p in mine if p.grad is None and p.requires_grad and id(p) in names)

    loss = _attempt(
        report,
        "training_step fails",
        lambda: target.training_step(model, optimizers, next(batches), after_backward),
    )
    if loss is None:
        return
    if not isinstance(loss, Tensor) or loss.numel() != 1 or loss.requires_grad:
        report.problems.append("training_step must return the scalar loss as a detached tensor")
    if [id(o) for o in called] != [id(o) for o in optimizers]:
        report.problems.append("training_step must call after_backward(optimizer) once for each optimizer, in order")
    if without:
        report.notes.append(f"these parameters get no gradient from training_step: {', '.join(sorted(without)[:5])}")


def _check_score(target: Target, model: nn.Module, report: TargetReport) -> None:
    splits: tuple[Split, ...] = ("validation", "test")
    for split in splits:
        score = _attempt(report, f"score(model, {split!r}) fails", partial(target.score, model, split))
        if score is None:
            continue
        if not isinstance(score, float):
            report.problems.append(f"score(model, {split!r}) must return a float; got {type(score).__name__}")
        elif not math.isfinite(score):
            report.problems.append(f"score(model, {split!r}) of a fresh model is {score}")
        elif target.score(model, split) != score:
            report.problems.append(f"score(model, {split!r}) must give the same number when asked again")
        floor = _attempt(report, f"floor({split!r}) fails", partial(target.floor, split))
        if floor is not None and not math.isfinite(floor):
            report.problems.append(f"floor({split!r}) must be finite; got {floor}")


def _check_cut(target: Target, model: nn.Module, report: TargetReport) -> None:
    if report.grouping is None:
        return
    surgeon = Surgeon(model, report.grouping, optimizers := target.optimizers(model), target.target_networks(model))
    kept = torch.cat([torch.arange(g.channels) < max(1, g.channels // 2) for g in report.grouping])

    def cut_and_go_on() -> None:
        surgeon.cut(kept)
        target.trace(model.eval())
        model.train()
        target.training_step(model, optimizers, next(target.batches(torch.Generator().manual_seed(1))), lambda _: None)
        target.score(model, "validation")

    _attempt(
        report,
        "the model fails after half of its channels are gone (does code hold on to a width, as in view(-1, 64)?)",
        cut_and_go_on,
    )


def _check_variants(target: Target, report: TargetReport) -> None:
    train, held_out = target.variants("train"), target.variants("held_out")
    if not train or not held_out:
        report.problems.append("variants(split) must return at least one set of options, {} for none")
    shared = [v for v in held_out if v and v in train]
    if shared:
        report.problems.append(f"variants held out must not occur in training; {shared} do")


def check_policy(policy: str | Policy, env: PruningEnv) -> None:
    """Check that a policy answers like an SB3 model, in the environment's own units.

    Args:
        policy: A policy, or the name or path of one.
        env: An environment; it is reset.

    Raises:
        CheckError: If an answer has the wrong shape, type or range, or changes what it was given.
    """
    env = env.unwrapped  # type: ignore[assignment]  # gym.make gives it wrapped
    made = make_policy(policy, env) if isinstance(policy, str) else policy
    problems = [
        f"a policy says whether it is {name}, True or False"
        for name in ("privileged", "learned")
        if not isinstance(getattr(made, name, None), bool)
    ]
    if getattr(made, "privileged", False) and not hasattr(made, "attach"):
        problems.append("a privileged policy needs attach(view), by which it is shown the network")
    if problems:
        raise CheckError("\n".join(problems))
    observation, _ = env.reset(seed=0, options={"budget": 0.5})
    if made.privileged:
        made.attach(env.view)  # type: ignore[attr-defined]
    given = observation.copy()
    problems += _answer_problems(made, observation, (len(env.group_names),), env.max_ratio)
    if not made.privileged:
        batch = np.stack([observation, observation])
        problems += _answer_problems(made, batch, (2, len(env.group_names)), env.max_ratio)
    if not np.array_equal(given, observation):
        problems.append("predict() changed the observation that it was given")
    if problems:
        raise CheckError("\n".join(problems))


def _answer_problems(policy: Policy, observation: np.ndarray, shape: tuple[int, ...], most: float) -> list[str]:
    try:
        answer = policy.predict(observation, None, None, True)
    except Exception as error:
        return [f"predict() fails for an observation {observation.shape}: {type(error).__name__}: {error}"]
    if not isinstance(answer, tuple) or len(answer) != 2:
        return [f"predict() must return (action, state); got {type(answer).__name__}"]
    action = answer[0]
    if not isinstance(action, np.ndarray) or action.shape != shape:
        return [f"for an observation {observation.shape} the action must be an array {shape}; got {np.shape(action)}"]
    if not np.isfinite(action).all() or action.min() < 0 or action.max() > most + 1e-6:
        return [f"ratios must lie in [0, {most}]; got {action.min()} to {action.max()}"]
    return []
