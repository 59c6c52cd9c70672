"""`prune-env demo`: train an agent and let it compete."""

from __future__ import annotations

from pathlib import Path

from prune_env.cli.bench import COMPETITORS, ENV, run_bench
from prune_env.cli.shared import check_at_least, out_folder, say
from prune_env.cli.train import train
from prune_env.parallel import check_engine


def demo(
    out: Path = Path("runs/demo"),
    timesteps: int = 5120,
    networks: int = 24,
    jobs: int | None = None,
    engine: str = "local",
    device: str | None = None,
) -> None:
    """Train a PPO agent on small autoencoders and let it compete on networks it has never seen (under five minutes).

    Args:
        out: Folder of everything that is written.
        timesteps: Networks that the agent cuts while it learns.
        networks: Held-out networks of the competition.
        jobs: Processes of the competition; by default one for each core.
        engine: Where the competition is run: local, or dask://HOST:PORT.
        device: Where networks are, e.g. cpu or cuda.
    """
    out = out_folder(out)
    check_engine(engine)
    check_at_least(1, timesteps=timesteps, networks=networks, jobs=jobs)
    train("ppo", out=out / "ppo", timesteps=timesteps, device=device)
    policies = (*COMPETITORS, str(out / "ppo" / "model.zip"))
    run_bench(policies, ENV, out, networks=networks, jobs=jobs, engine=engine, device=device)
    say(f"agent's TensorBoard logs: tensorboard --logdir {out / 'ppo' / 'tensorboard'}")
