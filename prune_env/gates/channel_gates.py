"""Gates on the channels of a network while it trains, whatever the training step does.

What reads a channel reads gate times the channel, so gates are multiplied into the readers' weights: during forward and
backward passes a parameter holds w * gate, and its gradient is that with respect to the product. From it follow

    dL/dw = dL/d(w gate) * gate        dL/dgate = sum dL/d(w gate) * w over the weights that read the channel

for any training step, gradients without autograd included. A group that no weight reads (queries and keys of attention)
has its gates on the weights that produce it. LayerNorm and RMSNorm over gated channels normalise over the open ones, so
that a closed gate is the cut, exactly; other normalisations over channels are not masked.

Letters: W present channels of all groups, flat in group order, n positions along a dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from prune_env.gates.rules import GateRule, GateState
from prune_env.groups import Surgeon

Key = tuple[str, int]
_BETAS = (0.9, 0.99)
_PUSH = 1.05  # factor by which the penalty grows while too much is open, and falls while too little is


class ChannelGates:
    """An observer of training that holds, trains and closes gates. Put it before those that measure importance.

    Use as a context: `with ChannelGates(...) as gates: train(..., [gates, ...])`. At the end weights are multiplied by
    their final gates, so that the network computes what it did with them.

    Args:
        surgeon: Holds the model, its groups and optimizers.
        rule: How gates train.
        steps: How many training steps there will be.
        generator: Draws the noise.
        shares: Share of the cost that each channel bears, [W]; they weight the penalty.
        keep: Share of the channels that the budget leaves.
        too_much: Whether these numbers of open channels [W], 0 to 1 each, cost more than the budget.
    """

    def __init__(
        self,
        surgeon: Surgeon,
        rule: GateRule,
        steps: int,
        generator: torch.Generator,
        shares: Tensor,
        keep: float,
        too_much: Callable[[Tensor], bool],
    ):
        self.surgeon, self.rule, self.steps, self.generator = surgeon, rule, steps, generator
        self._parameters = dict(surgeon.model.named_parameters(remove_duplicate=False))
        self._width = len(surgeon.present)
        self._keys = _gated(surgeon, self._parameters)
        place = torch.full((int(surgeon.grouping.widths.sum()) + 1,), self._width)  # the last entry is of no channel
        place[surgeon.present] = torch.arange(self._width)
        some = next(iter(self._parameters.values()))
        self._like: dict[str, Any] = {"device": some.device, "dtype": some.dtype}
        self._owners = {key: place[surgeon.owner(*key)].to(some.device) for key in self._keys}
        self._norm_owners = _normalised(surgeon, place)
        self._shares, self._too_much = shares.to(**self._like) * self._width, too_much
        self._plain: dict[str, Tensor] = {}
        self._handles: list[Any] = []
        self._strength, self._scale = 1.0, 0.0
        norms, ones = self._norms(), torch.ones(self._width, **self._like)
        self._unit = _group_mean(norms, surgeon.group_of.to(some.device)).clamp(min=1e-12)
        self.state = GateState(norms / self._unit, self._noise(), 0.0, keep, ones > 0, ones * 0)
        self.theta = rule.initial(self.state).to(**self._like).requires_grad_()
        self._adam = torch.optim.Adam([self.theta], lr=rule.rate, betas=_BETAS) if rule.rate else None
        self.values = ones
        self._gradient = ones * 0
        self._slopes = ones * 0

    # ------------------------------------------------------------------ protocol
    def __enter__(self) -> ChannelGates:
        self.values = self._sample().detach()
        self._close()
        for optimizer in self.surgeon.optimizers:
            self._handles.append(optimizer.register_step_post_hook(self._after_optimizer))
        for name, owner in self._norm_owners.items():
            for module in _copies(self.surgeon, name):
                self._handles.append(module.register_forward_hook(self._masked(owner)))
        return self

    def __exit__(self, *error: Any) -> None:
        self._open()
        for handle in self._handles:
            handle.remove()
        if error[0] is None:
            self.values = self.rule.final(self.theta, self.state).detach()
            self._close()
            self._plain.clear()

    @torch.no_grad()
    def after_backward(self, optimizer: torch.optim.Optimizer) -> None:
        """Turn gradients of gated weights into those of weights and gates; the optimizer then sees plain weights."""
        owned = {id(p) for settings in optimizer.param_groups for p in settings["params"]}
        mine = [name for name in self._plain if id(self._parameters[name]) in owned]
        gradient = torch.zeros(self._width + 1, **self._like)
        for name in mine:
            parameter = self._parameters[name]
            if (slope := parameter.grad) is not None:
                for key in self._keys_of(name):
                    others = self._factor(name, without=key)
                    gradient.index_add_(0, self._owners[key], _rows(slope * self._plain[name] * others, key[1]).sum(1))
                    squares = _rows(slope, key[1]).square().sum(1)
                    self._slopes.add_(torch.zeros_like(gradient).index_add_(0, self._owners[key], squares)[:-1])
                if not self.rule.splices:
                    parameter.grad = slope * self._factor(name)
            parameter.copy_(self._plain[name])
        self._gradient += gradient[:-1]
        self._add_norm_gradients(mine, gradient[:-1])

    def after_step(self) -> None:
        """Train theta, change the mask, and put the next gates on."""
        self._open()
        state = self.state
        state.slopes, state.step = self._slopes.sqrt(), state.step + 1
        self._train_theta()
        state.norms, state.progress = self._norms() / self._unit, min(1.0, state.step / self.steps)
        self.rule.update(state)
        state.noise = self._noise()
        self.values = self._sample().detach()
        self._gradient, self._slopes = torch.zeros_like(self._gradient), torch.zeros_like(self._slopes)
        self._close()

    def after_surgery(self, keep: Tensor) -> None:
        """Gates end before the cut.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError("gates must be left before channels are removed")

    def openness(self) -> Tensor:
        """A number for each channel, [W]: the lowest go first; at most 0 where the final gate is closed."""
        return self.rule.openness(self.theta, self.state).detach()

    # ------------------------------------------------------------------ theta
    def _sample(self) -> Tensor:
        return self.rule.gates(self.theta, self.state)

    def _train_theta(self) -> None:
        """A step of Adam along dL/dgate * dgate/dtheta and the penalty, whose weight is steered towards the budget."""
        if self._adam is None:
            return
        size = float(self._gradient.abs().mean())
        self._scale = size if not self._scale else 0.9 * self._scale + 0.1 * size
        with torch.no_grad():
            likely = self.rule.final(self.theta, self.state).clamp(0, 1)
        self._strength *= _PUSH if self._too_much(likely) else 1 / _PUSH
        with torch.enable_grad():
            penalty = (self.rule.penalty(self.theta, self.state) * self._shares).sum()
            (self._sample() @ self._gradient + self._strength * self._scale * penalty).backward(inputs=[self.theta])
        self._adam.step()
        self._adam.zero_grad()

    def _add_norm_gradients(self, names: Sequence[str], gradient: Tensor) -> None:
        """Where gates depend on the norms of weights: dL/dgate * dgate/dnorm * w / norm, for each weight."""
        norms = self.state.norms.clone().requires_grad_()
        with torch.enable_grad():
            state = GateState(**{**vars(self.state), "norms": norms})
            gates = self.rule.gates(self.theta.detach(), state)
            if not gates.requires_grad:
                return
            (slope,) = torch.autograd.grad(gates @ gradient, norms)
        factor = torch.cat([slope / (self.state.norms * self._unit.square()).clamp(min=1e-12), slope[:1] * 0])
        for name in names:
            parameter = self._parameters[name]
            if parameter.grad is not None:
                for key in self._keys_of(name):
                    parameter.grad += self._along(key, factor[self._owners[key]]) * self._plain[name]

    def _noise(self) -> Tensor:
        noise = torch.rand(self._width, generator=self.generator, dtype=torch.float64).clamp(1e-6, 1 - 1e-6)
        return noise.to(**self._like)

    # ------------------------------------------------------------------ weights
    @torch.no_grad()
    def _close(self) -> None:
        """Multiply all gated weights by their gates."""
        for name in dict.fromkeys(name for name, _ in self._keys):
            self._gate(name)

    @torch.no_grad()
    def _open(self) -> None:
        """Put the plain weights back."""
        for name, plain in self._plain.items():
            self._parameters[name].copy_(plain)

    def _gate(self, name: str) -> None:
        parameter = self._parameters[name]
        self._plain[name] = parameter.detach().clone()
        parameter.mul_(self._factor(name))

    @torch.no_grad()
    def _after_optimizer(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        owned = {id(p) for settings in optimizer.param_groups for p in settings["params"]}
        for name in self._plain:
            if id(self._parameters[name]) in owned:
                self._gate(name)

    @torch.no_grad()
    def _norms(self) -> Tensor:
        """Norm of the plain weights that read each channel, [W]."""
        squares = torch.zeros(self._width + 1, **self._like)
        for key in self._keys:
            squares.index_add_(0, self._owners[key], _rows(self._parameters[key[0]].detach(), key[1]).square().sum(1))
        return squares[:-1].sqrt()

    def _keys_of(self, name: str) -> list[Key]:
        return [key for key in self._keys if key[0] == name]

    def _factor(self, name: str, without: Key | None = None) -> Tensor:
        """Product of the gates along all dimensions of a weight, but one."""
        values = torch.cat([self.values, self.values.new_ones(1)])
        factors = [self._along(key, values[self._owners[key]]) for key in self._keys_of(name) if key != without]
        product = self.values.new_ones(())
        for factor in factors:
            product = product * factor
        return product

    def _along(self, key: Key, numbers: Tensor) -> Tensor:
        """Numbers [n] in the shape of a weight, along its dimension."""
        shape = [1] * self._parameters[key[0]].dim()
        shape[key[1]] = -1
        return numbers.view(shape)

    # ------------------------------------------------------------------ normalisation over channels
    def _masked(self, owner: Tensor) -> Callable[[nn.Module, tuple[Any, ...], Tensor], Tensor | None]:
        def hook(module: Any, inputs: tuple[Any, ...], output: Tensor) -> Tensor | None:
            open_ = torch.cat([self.values != 0, self.values.new_ones(1) > 0])[owner].to(output.dtype)
            if bool(open_.all()):
                return None
            x, count = inputs[0], open_.sum()
            if isinstance(module, nn.LayerNorm):
                x = x - (x * open_).sum(-1, keepdim=True) / count
            eps = module.eps if module.eps is not None else torch.finfo(x.dtype).eps
            x = x * torch.rsqrt((x.square() * open_).sum(-1, keepdim=True) / count + eps)
            x = x if module.weight is None else x * module.weight
            return x if getattr(module, "bias", None) is None else x + module.bias

        return hook


def _gated(surgeon: Surgeon, parameters: dict[str, nn.Parameter]) -> list[Key]:
    """The dimensions of weights that carry gates: those that read a group, or else those that produce it."""
    keys: dict[Key, None] = {}
    for group in surgeon.grouping:
        read = [s for s in group.slices if s.role == "in" and s.tensor in parameters]
        keys |= {(s.tensor, s.dim): None for s in read or group.root_slices if s.tensor in parameters}
    return list(keys)


def _normalised(surgeon: Surgeon, place: Tensor) -> dict[str, Tensor]:
    """Layer that normalises over channels of groups -> channel of each of its positions."""
    found = {}
    for group in surgeon.grouping:
        for s in group.slices:
            layer = surgeon.model.get_submodule(s.layer) if s.role == "out" else None
            if isinstance(layer, (nn.LayerNorm, nn.RMSNorm)) and len(layer.normalized_shape) == 1:
                found[s.layer] = place[surgeon.owner(s.tensor, s.dim)]
    return found


def _copies(surgeon: Surgeon, name: str) -> list[nn.Module]:
    modules = [surgeon.model.get_submodule(name)]
    for prefix, network in surgeon.target_networks:
        if not prefix or name.startswith(f"{prefix}."):
            modules.append(network.get_submodule(name.removeprefix(prefix).removeprefix(".")))
    return modules


def _rows(tensor: Tensor, dim: int) -> Tensor:
    """A tensor as a matrix with one of its dimensions first."""
    return tensor.movedim(dim, 0).reshape(tensor.shape[dim], -1)


def _group_mean(values: Tensor, group_of: Tensor) -> Tensor:
    """The mean over the group of each channel, [W]."""
    count = int(group_of.max()) + 1
    sums = values.new_zeros(count).index_add_(0, group_of, values)
    return (sums / torch.bincount(group_of, minlength=count).clamp(min=1))[group_of]
