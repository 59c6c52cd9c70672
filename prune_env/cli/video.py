"""`prune-env video`: a network at its task, before and after."""

from __future__ import annotations

from pathlib import Path

from prune_env.cli.bench import env_of, trained_on
from prune_env.cli.shared import Name, Options, check_at_least, check_env, env_options, out_folder, say
from prune_env.parallel import single_threaded
from prune_env.storage import expanded


def video(
    policy: Name,
    env: str | None = None,
    out: Path = Path("runs/video.gif"),
    budget: float = 0.5,
    network: int = 0,
    seed: int = 0,
    device: str | None = None,
    options: Options = (),
) -> None:
    """Write a GIF of a held-out network at its task: the dense network above, the same network after pruning below.

    Args:
        policy: Name of a policy (see `prune-env list policies`) or path of a saved agent.
        env: Id of the environment; by default the one that an agent was trained on, or PruneEnv/TDMPCPendulum-v0.
        out: Path of the GIF.
        budget: Sparsity to prune to.
        network: Number of the held-out network, from 0.
        seed: Seed of the batches on which the network is fine-tuned.
        device: Where the network is, e.g. cpu or cuda.
        options: Further arguments of the environment and of the target; by default those that an agent was trained on.
    """
    env = env or env_of(policy, "PruneEnv/TDMPCPendulum-v0")
    check_env(env)
    check_at_least(0, network=network, seed=seed)
    chosen = env_options(options, device, **trained_on(policy, env))
    path = expanded(out)
    if path.suffix != ".gif":
        raise ValueError(f"--out must be the path of a GIF, such as runs/video.gif; got {str(out)!r}")
    out_folder(path.parent)

    from prune_env.benchmark.video import video as make_video

    single_threaded()
    make_video(policy, env, path, budget=budget, network=network, seed=seed, env_options=chosen)
    say(f"video: {path}")
