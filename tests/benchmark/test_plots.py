"""The pictures: what is drawn, and that words do not lie on each other."""

import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from prune_env.benchmark.plots import (
    LOWEST_SHOWN,
    mean_ratios,
    plot_areas,
    plot_learning_curve,
    plot_profile,
    plot_ratios,
    plot_retained,
    save_figure,
    spread_apart,
)
from prune_env.benchmark.records import Records
from prune_env.benchmark.statistics import summarise


@pytest.fixture
def crowd(make_competition):
    """Two agents and 18 others, many of them nearly equal, on networks of seven groups."""
    ratios = {"ratios": {f"component_{g}.layer": 0.99 for g in range(7)}}
    levels = {f"policy_number_{i}": 0.55 - 0.01 * i for i in range(12)} | {f"wreck_{i}": -2.0 - i for i in range(6)}
    kinds = {f"policy_number_{i}": {"privileged": True} | ratios for i in range(0, 12, 3)}
    learned = {"learned": True} | ratios
    return summarise(Records(make_competition({"ppo": 0.7, "sac": 0.69} | levels, ppo=learned, sac=learned, **kinds)))


def words(figure):
    """Every text that is drawn, with its extent."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    hidden = set()  # matplotlib keeps labels of ticks beyond the limits, and does not draw them
    for axis in itertools.chain(*((axes.xaxis, axes.yaxis) for axes in figure.axes)):
        low, high = sorted(axis.get_view_interval())
        hidden |= {tick.label1 for tick in axis.get_major_ticks() if not low - 1e-9 <= tick.get_loc() <= high + 1e-9}
    drawn = set(figure.findobj(Text)) - hidden
    return [
        (text.get_text(), text.get_window_extent(canvas.get_renderer()))
        for text in drawn
        if text.get_visible() and text.get_text().strip()
    ]


def overlapping(figure):
    pairs = itertools.combinations(words(figure), 2)
    return [(a, b) for (a, one), (b, other) in pairs if one.shrunk(0.9, 0.75).overlaps(other.shrunk(0.9, 0.75))]


@pytest.mark.parametrize("plot", [plot_retained, plot_areas, plot_profile, plot_ratios])
def test_no_words_overlap_or_leave_the_picture_with_twenty_policies(crowd, plot):
    figure = plot(crowd)
    assert overlapping(figure) == []
    for text, extent in words(figure):
        assert figure.bbox.padded(1).containsx(extent.x0) and figure.bbox.padded(1).containsx(extent.x1), text
        assert figure.bbox.padded(1).containsy(extent.y0) and figure.bbox.padded(1).containsy(extent.y1), text


@pytest.mark.parametrize("plot", [plot_retained, plot_areas, plot_profile])
def test_only_ranked_policies_are_drawn(duel, plot):
    texts = [text.strip() for text, _ in words(plot(summarise(duel)))]
    assert {"ppo", "search", "fisher", "random"} <= set(texts)
    assert "none" not in texts


def test_scores_far_below_are_drawn_at_the_edge_and_said_to_be(crowd):
    figure = plot_retained(crowd)
    axes = figure.axes[0]
    assert axes.get_ylim()[0] == LOWEST_SHOWN
    assert min(np.min(line.get_ydata()) for line in axes.lines) == LOWEST_SHOWN
    assert any("lowest: wreck_5, -7.17" in text for text, _ in words(figure))


def test_agents_are_thick_and_privileged_policies_dashed(duel):
    lines = {}
    axes = plot_retained(summarise(duel)).axes[0]
    for line in axes.lines:
        if len(line.get_xdata()) == 2 and line.get_marker() != "None":
            lines[round(float(line.get_ydata()[0]), 2)] = line  # each policy's score at the first sparsity
    assert lines[0.63].get_linewidth() > 2 * lines[0.43].get_linewidth()
    assert lines[0.53].is_dashed() and not lines[0.43].is_dashed()


def test_labels_are_spread_apart_by_little():
    np.testing.assert_allclose(spread_apart(np.array([0.0, 0.5, 0.52]), 0.1, 0.0, 1.0), [0.0, 0.5, 0.6])
    np.testing.assert_allclose(spread_apart(np.array([0.95, 0.97, 1.0]), 0.1, 0.0, 1.0), [0.8, 0.9, 1.0])
    np.testing.assert_allclose(spread_apart(np.zeros(3), 1.0, 0.0, 1.0), [0.0, 1.0, 2.0])  # too many to fit


def test_mean_ratios_over_networks(make_result):
    records = Records(
        [
            make_result("a", network=0, ratios={"encoder": 0.2, "latent": 0.0}),
            make_result("a", network=1, ratios={"encoder": 0.4, "latent": 0.5}),
            make_result("b", network=0, budget=0.9, ratios={"decoder": 0.7}),
        ]
    )
    groups, ratios = mean_ratios(records, ["b", "a"])
    x = np.nan
    assert groups == ("encoder", "latent", "decoder")
    np.testing.assert_allclose(ratios, [[[x, x, x], [0.3, 0.25, x]], [[x, x, 0.7], [x, x, x]]])


def test_ratios_are_written_into_the_cells(make_competition):
    cells = {"ratios": {"encoder": 0.12, "latent": 0.98}}
    texts = [text for text, _ in words(plot_ratios(summarise(Records(make_competition({"a": 0.5}, a=cells)))))]
    assert texts.count("12") == texts.count("98") == 2  # one panel for each budget
    assert "sparsity 50%" in texts and "sparsity 90%" in texts


@pytest.fixture
def evaluations(tmp_path):
    path = tmp_path / "evaluations.npz"
    results = np.tile(np.arange(8.0), (3, 1)) + np.array([[0.0], [1.0], [2.0]])
    np.savez(path, timesteps=np.array([400, 800, 1200]), results=results, ep_lengths=np.full((3, 8), 4))
    return path


def test_learning_curve_counts_networks_and_takes_interquartile_means(evaluations):
    axes = plot_learning_curve(evaluations).axes[0]
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), [100, 200, 300])  # 4 rounds an episode
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [3.5, 4.5, 5.5])
    assert "networks cut" in axes.get_xlabel()


def test_a_learning_curve_that_is_none_names_its_file(tmp_path, evaluations):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        plot_learning_curve(tmp_path / "nowhere.npz")
    evaluations.write_bytes(evaluations.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"evaluations\.npz is not"):
        plot_learning_curve(evaluations)
    np.savez(evaluations, timesteps=np.zeros(0), results=np.zeros((0, 5)), ep_lengths=np.zeros((0, 5)))
    with pytest.raises(ValueError, match="no evaluation"):
        plot_learning_curve(evaluations)


def test_files_are_whole_and_repeatable(tmp_path, evaluations):
    for folder in ("one", "two"):
        save_figure(plot_learning_curve(evaluations), tmp_path / folder / "curve")
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == ["curve.png", "curve.svg"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_one_budget_one_network_one_policy_can_be_drawn(make_result):
    lonely = summarise(Records([make_result(learned=True)]))
    for plot in (plot_retained, plot_areas, plot_profile, plot_ratios):
        assert overlapping(plot(lonely)) == []
