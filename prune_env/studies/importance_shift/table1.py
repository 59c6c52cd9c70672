"""Table 1 of arXiv 2601.19794: sizes of the networks and what training reaches, beside the paper's numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from prune_env.benchmark.plot_style import AGENT_COLOURS
from prune_env.studies.core import Claim, Job, Rows, Study, Verdict, markdown_table
from prune_env.studies.importance_shift.networks import autoencoders, trajectory_jobs
from prune_env.studies.importance_shift.parameter_counts import LATENTS, PAPER_AUTOENCODER, size_jobs

AUTOENCODER_PARAMETERS, CONTROLLER_PARAMETERS = 2_312_992, 1_548_360
CONTROLLER_MEGABYTES = 12.4
MSE, PSNR = 0.002238, 22.34
CLOSE = 0.25
"""A mean squared error this much off the paper's, as a share, still counts as the same: about 1 dB."""


def exactly(measured: float, paper: float) -> Verdict:
    """Counts agree or they do not."""
    return "agrees" if measured == paper else "disagrees"


def near(measured: float, paper: float, share: float) -> Verdict:
    """Whether a number is off by no more than a share of the paper's."""
    return "agrees" if abs(measured - paper) <= share * paper else "disagrees"


class Table1(Study):
    """Parameters, size, and the quality that training reaches."""

    name = "table1"
    title = "Table 1: the networks"

    def setting(self, quick: bool) -> str:
        """What is counted and trained."""
        trained = "the autoencoders of figure 1" + (
            ", in the quick setting, which is on 8x8 digits and not on MNIST"
            if quick
            else ", on real MNIST (see there)"
        )
        return (
            "Counted are the autoencoder with 784 inputs and three hidden layers of linearly interpolated widths, and "
            "TD-MPC with 84x84 pixels, three frames of three colours, latent 50 and width 512, at the paper's full "
            "sizes in every setting. A number takes 4 bytes; 1 MB is a million bytes. MSE and PSNR = -10 log10(MSE) "
            f"are those that {trained} reach on the test images, with pixels in [0, 1]."
        )

    def jobs(self, quick: bool, seeds: Sequence[int]) -> list[Job]:
        """Counts, and the trajectories of figure 1."""
        return size_jobs() + trajectory_jobs(autoencoders(quick), seeds)

    def data(self, rows: Rows, quick: bool) -> Rows:
        """Totals and final metrics."""
        order = [n.setting for n in autoencoders(quick)]
        scores = [r for r in rows if r["kind"] == "score"]
        return [r for r in rows if r["kind"] in ("total", "fits")] + sorted(
            scores, key=lambda r: (order.index(str(r["setting"])), r["seed"])
        )

    def claims(self, rows: Rows, quick: bool) -> list[Claim]:
        """Counts, and the paper's contradictions."""
        total = {str(r["network"]): int(r["parameters"]) for r in rows if r["kind"] == "total"}
        (fits,) = (int(r["parameters"]) for r in rows if r["kind"] == "fits")
        others = [total[f"autoencoder, latent {latent}"] for latent in LATENTS if latent != 256]
        controller = total["TD-MPC"]
        megabytes = 2 * 4 * controller / 1e6
        psnr = -10 * math.log10(MSE)
        same = "agrees if the counts are equal"
        return [
            Claim(
                f"The autoencoder has {AUTOENCODER_PARAMETERS:,} parameters (latent 256)",
                f"{total[PAPER_AUTOENCODER]:,}",
                exactly(total[PAPER_AUTOENCODER], AUTOENCODER_PARAMETERS),
                same,
            ),
            Claim(
                f"{AUTOENCODER_PARAMETERS:,} parameters is the autoencoder's size in experiments with latents 8, 64, "
                "256 and 512",
                "latents 8, 64 and 512: " + ", ".join(f"{n:,}" for n in others),
                "agrees" if all(n == AUTOENCODER_PARAMETERS for n in others) else "disagrees",
                "agrees if the count is the same at every latent size",
            ),
            Claim(
                f"TD-MPC has {CONTROLLER_PARAMETERS:,} parameters",
                f"{controller:,} (84x84 pixels, 9 channels)",
                exactly(controller, CONTROLLER_PARAMETERS),
                same,
            ),
            Claim(
                f"TD-MPC takes {CONTROLLER_MEGABYTES} MB",
                f"online and target networks: 2 x 4 x {controller:,} bytes = {megabytes:.2f} MB",
                exactly(round(megabytes, 1), CONTROLLER_MEGABYTES),
                "agrees if it is the same to one place",
            ),
            Claim(
                "TD-MPC reads images of 28x28",
                "its four convolutions of stride 2 "
                + ("fit" if fits else "do not fit: the last has fewer pixels than its kernel"),
                "agrees" if fits else "disagrees",
                "agrees if a network with these convolutions can be built on 28x28",
            ),
            Claim(
                f"The same autoencoder has MSE {MSE} and PSNR {PSNR} dB",
                f"MSE {MSE} is {psnr:.2f} dB, and {PSNR} dB is MSE {10 ** (-PSNR / 10):.6f}, with pixels in [0, 1]",
                near(psnr, PSNR, 0.05 / PSNR),
                "agrees if -10 log10(MSE) is the PSNR to 0.05 dB",
            ),
            *_reached(rows, quick),
        ]

    def draw(self, rows: Rows, quick: bool) -> Figure | None:
        """Parameters of the networks, with the paper's two numbers."""
        totals = [(str(r["network"]), int(r["parameters"])) for r in rows if r["kind"] == "total"]
        figure = Figure(figsize=(7.5, 2.8), layout="constrained")
        axes = figure.add_subplot()
        names, counts = zip(*totals, strict=True)
        axes.barh(range(len(names)), counts, color=AGENT_COLOURS[1], height=0.6)
        for y, count in enumerate(counts):
            axes.text(count, y, f" {count:,}", va="center", fontsize=8)
        for y, paper in (
            (names.index(PAPER_AUTOENCODER), AUTOENCODER_PARAMETERS),
            (names.index("TD-MPC"), CONTROLLER_PARAMETERS),
        ):
            axes.plot([paper, paper], [y - 0.42, y + 0.42], color=AGENT_COLOURS[0], linewidth=2.5)
        axes.plot([], [], color=AGENT_COLOURS[0], linewidth=2.5, label="the paper's number")
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.18 * max(counts))
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.set_xlabel("parameters")
        figure.legend(loc="outside lower right", frameon=False, fontsize=8)
        return figure

    def table(self, rows: Rows, quick: bool) -> str:
        """Sizes, and what training reached."""
        paper = {PAPER_AUTOENCODER: f"{AUTOENCODER_PARAMETERS:,}", "TD-MPC": f"{CONTROLLER_PARAMETERS:,}"}
        sizes = [
            [
                r["network"],
                f"{r['parameters']:,}",
                paper.get(str(r["network"]), "-"),
                f"{4e-6 * int(r['parameters']):.2f}",
            ]
            for r in rows
            if r["kind"] == "total"
        ]
        header = ("network", "parameters", "the paper's", "size of one copy [MB]")
        reached = [
            [
                setting,
                epochs,
                f"{np.mean(mse):.6f}",
                f"{min(mse):.6f} to {max(mse):.6f}",
                f"{np.mean(psnr):.2f}",
                len(mse),
            ]
            for (setting, epochs), (mse, psnr) in _metrics(rows).items()
        ]
        columns = ("network", "epochs", "test MSE", "range over seeds", "PSNR [dB]", "seeds")
        return "\n\n".join([markdown_table(header, sizes), markdown_table(columns, reached)])


def _metrics(rows: Rows) -> dict[tuple[str, int], tuple[list[float], list[float]]]:
    """Test MSE and PSNR of all seeds, by network and epochs."""
    found: dict[tuple[str, int], tuple[list[float], list[float]]] = {}
    for r in rows:
        if r["kind"] == "score":
            mse, psnr = found.setdefault((str(r["setting"]), int(r["epoch"])), ([], []))
            {"mse": mse, "psnr": psnr}[str(r["metric"])].append(float(r["value"]))
    return found


def _reached(rows: Rows, quick: bool) -> list[Claim]:
    """MSE and PSNR of our training at latent 256, or at what stands for it."""
    rule = (
        f"agrees if the mean over seeds is within {CLOSE:.0%} of the paper's MSE, or within 1 dB of its PSNR; "
        "disagrees if it is better; a worse one decides nothing, as training here is shorter"
    )
    setting, metrics = list(_metrics(rows).items())[LATENTS.index(256)]
    mse, psnr = (float(np.mean(values)) for values in metrics)
    where = f"{setting[0]}, {setting[1]} epochs, {len(metrics[0])} seeds"
    if quick:
        rule += "; the quick setting is on 8x8 digits and decides nothing"
    return [
        Claim(
            f"The autoencoder reaches MSE {MSE}",
            f"{mse:.6f} ({where})",
            "cannot be decided" if quick or mse > (1 + CLOSE) * MSE else near(mse, MSE, CLOSE),
            rule,
        ),
        Claim(
            f"The autoencoder reaches PSNR {PSNR} dB",
            f"{psnr:.2f} dB ({where})",
            "cannot be decided" if quick or psnr < PSNR - 1 else near(psnr, PSNR, 1 / PSNR),
            rule,
        ),
    ]
