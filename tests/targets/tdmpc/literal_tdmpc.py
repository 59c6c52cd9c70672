"""TD-MPC as the paper and its authors' published code go about it, step by step and slowly: what ours is held against.

Arithmetic follows arXiv 2203.04955 (algorithms 1 and 2, appendix) with uniform replay; random numbers are handed in.
"""

import copy

import torch
import torch.nn.functional as F  # noqa: N812

from prune_env.targets.tdmpc.networks import Brightness


def straight_through(mean, noise, std):
    """A truncated normal sample, whose clamp the gradient does not see."""
    x = mean + torch.clamp(noise * std, -0.3, 0.3)
    return x - x.detach() + torch.clamp(x, -1 + 1e-6, 1 - 1e-6).detach()


def shifted(images, shift, pad):
    """Random shifts by bilinear sampling of the padded image; `shift` [n, 2] whole pixels (x, y) in 0..2 pad."""
    n, _, size, _ = images.shape
    padded = F.pad(images, (pad, pad, pad, pad), mode="replicate")
    whole = size + 2 * pad
    line = torch.linspace(-1 + 1 / whole, 1 - 1 / whole, whole)[:size]
    x, y = line.expand(size, size), line.unsqueeze(1).expand(size, size)
    grid = torch.stack([x, y], dim=2).expand(n, -1, -1, -1) + 2 * shift.float().view(n, 1, 1, 2) / whole
    return F.grid_sample(padded, grid, padding_mode="zeros", align_corners=False)


class Scaled(torch.nn.Module):
    """Pixels to numbers in [0, 1], laid out as they come."""

    def forward(self, images):
        return images / 255.0


class LiteralTDMPC:
    """One learner with a whole copy of its model."""

    def __init__(self, net, config, learning_rate=1e-3):
        self.config = config
        self.model = copy.deepcopy(net)
        if isinstance(self.model.encoder[0], Brightness):
            self.model.encoder[0] = Scaled()
        self.slow = copy.deepcopy(self.model)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=learning_rate)
        self.pi_optimizer = torch.optim.Adam(self.model.pi.parameters(), lr=learning_rate)
        self.step = 0

    def next(self, z, action):
        za = torch.cat([z, action], dim=-1)
        return self.model.dynamics(za), self.model.reward(za)

    def values(self, model, z, action):
        za = torch.cat([z, action], dim=-1)
        return model.q1(za), model.q2(za)

    def pi(self, z, noise):
        return straight_through(torch.tanh(self.model.pi(z)), noise, self.config.std)

    def update(self, first, following, action, reward, noise, augment=lambda observation, t: observation):
        c, horizon = self.config, len(action)
        self.optimizer.zero_grad(set_to_none=True)
        z = self.model.encoder(augment(first, 0))
        zs = [z.detach()]
        consistency_loss, reward_loss, value_loss = 0, 0, 0
        for t in range(horizon):
            q1, q2 = self.values(self.model, z, action[t])
            z, reward_pred = self.next(z, action[t])
            with torch.no_grad():
                seen = augment(following[t], t + 1)
                next_z = self.slow.encoder(seen)
                online_z = self.model.encoder(seen)
                value = torch.min(*self.values(self.slow, online_z, self.pi(online_z, noise[t])))
                td_target = reward[t] + c.discount * value
            zs.append(z.detach())
            rho = c.rho**t
            consistency_loss += rho * torch.mean(F.mse_loss(z, next_z, reduction="none"), dim=1, keepdim=True)
            reward_loss += rho * F.mse_loss(reward_pred, reward[t], reduction="none")
            value_loss += rho * F.mse_loss(q1, td_target, reduction="none")
            value_loss += rho * F.mse_loss(q2, td_target, reduction="none")
        total = (
            c.consistency * consistency_loss.clamp(max=1e4)
            + c.reward * reward_loss.clamp(max=1e4)
            + c.value * value_loss.clamp(max=1e4)
        ).mean()
        (total * (1 / horizon)).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), c.clip)
        self.optimizer.step()
        self.update_pi(zs, noise[horizon:])
        if self.step % c.tau_every == 0:
            with torch.no_grad():
                for p, slow in zip(self.model.parameters(), self.slow.parameters(), strict=True):
                    slow.lerp_(p, c.tau)
        self.step += 1
        return total.item()

    def update_pi(self, zs, noise):
        self.pi_optimizer.zero_grad(set_to_none=True)
        values = [*self.model.q1.parameters(), *self.model.q2.parameters()]
        for p in values:
            p.requires_grad_(False)
        pi_loss = 0
        for t, z in enumerate(zs):
            q = torch.min(*self.values(self.model, z, self.pi(z, noise[t])))
            pi_loss += -q.mean() * self.config.rho**t
        pi_loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.pi.parameters(), self.config.clip)
        self.pi_optimizer.step()
        for p in values:
            p.requires_grad_(True)

    @torch.no_grad()
    def plan(self, observation, last_mean, planner, normal):
        """(elites' first actions [K, A], their chances [K], mean [H, A]) for one observation [1, ...].

        `normal(*shape)` draws the noise, asked for in the order of the algorithm.
        """
        horizon, proposals = planner.horizon, int(planner.proposals * planner.samples)
        actions = self.model.pi[-1].out_features
        pi_actions = torch.empty(horizon, proposals, actions)
        z = self.model.encoder(observation).repeat(proposals, 1)
        for t in range(horizon):
            pi_actions[t] = straight_through(torch.tanh(self.model.pi(z)), normal(proposals, actions), planner.std)
            z, _ = self.next(z, pi_actions[t])
        z = self.model.encoder(observation).repeat(planner.samples + proposals, 1)
        mean, std = torch.zeros(horizon, actions), 2 * torch.ones(horizon, actions)
        if last_mean is not None:
            mean[:-1] = last_mean[1:]
        for _ in range(planner.iterations):
            noise = normal(horizon, planner.samples, actions)
            drawn = torch.clamp(mean.unsqueeze(1) + std.unsqueeze(1) * noise, -1, 1)
            sequences = torch.cat([drawn, pi_actions], dim=1)
            value = self.estimate_value(z, sequences, planner, normal).nan_to_num(0)
            index = torch.topk(value.squeeze(1), planner.elites, dim=0).indices
            elite_value, elites = value[index], sequences[:, index]
            score = torch.exp(planner.temperature * (elite_value - elite_value.max(0)[0]))
            score /= score.sum(0)
            new_mean = torch.sum(score.unsqueeze(0) * elites, dim=1) / (score.sum(0) + 1e-9)
            difference = (elites - new_mean.unsqueeze(1)) ** 2
            std = torch.sqrt(torch.sum(score.unsqueeze(0) * difference, dim=1) / (score.sum(0) + 1e-9))
            std = std.clamp(planner.std, 2)
            mean = planner.momentum * mean + (1 - planner.momentum) * new_mean
        return elites[0], score.squeeze(1), mean

    def estimate_value(self, z, sequences, planner, normal):
        total, discount = 0, 1
        for t in range(planner.horizon):
            z, reward = self.next(z, sequences[t])
            total = total + discount * reward
            discount *= planner.discount
        action = straight_through(torch.tanh(self.model.pi(z)), normal(len(z), sequences.shape[2]), planner.std)
        return total + discount * torch.min(*self.values(self.model, z, action))
