"""The pictures: what is drawn, and that it can be read: no words overlap, nothing is clipped."""

import itertools
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from prune_env.benchmark.agent_training import AgentTraining
from prune_env.benchmark.leaderboard import rank_policies
from prune_env.benchmark.plot_ratios import mean_ratios, plot_ratios
from prune_env.benchmark.plot_scores import plot_areas, plot_profile, plot_retained, spread_apart
from prune_env.benchmark.plot_style import NARROW_WIDTH, save_figure
from prune_env.benchmark.plot_training import plot_learning_curve
from prune_env.benchmark.records import Records

NAMES = ("$\\frac{$", "$x$", "<b>&", "[link](x)", "_hidden", "a\nb", "=1+1", "\x1b[31m", "%s", "\\")


@pytest.fixture
def crowd(make_results):
    """Two agents and 18 others, many of them nearly equal, on networks of seven groups."""
    ratios = {"ratios": {f"component_{g}.layer": 0.99 for g in range(7)}}
    levels = {f"policy_number_{i}": 0.55 - 0.01 * i for i in range(12)} | {
        f"wreck_{i}": -0.4 - 0.05 * i for i in range(6)
    }
    kinds = {f"policy_number_{i}": {"privileged": True} | ratios for i in range(0, 12, 3)}
    learned = {"learned": True} | ratios
    return rank_policies(Records(make_results({"ppo": 0.7, "sac": 0.69} | levels, ppo=learned, sac=learned, **kinds)))


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


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("plot", [plot_retained, plot_areas, plot_profile, plot_ratios])
def test_no_words_overlap_or_leave_the_picture_with_twenty_policies(crowd, plot, narrow):
    figure = plot(crowd, narrow)
    assert overlapping(figure) == []
    for text, extent in words(figure):
        assert figure.bbox.padded(1).containsx(extent.x0) and figure.bbox.padded(1).containsx(extent.x1), text
        assert figure.bbox.padded(1).containsy(extent.y0) and figure.bbox.padded(1).containsy(extent.y1), text


@pytest.mark.parametrize("plot", [plot_retained, plot_areas, plot_profile])
def test_only_ranked_policies_are_drawn(duel, plot):
    texts = [text.strip() for text, _ in words(plot(rank_policies(duel)))]
    assert {"ppo", "search", "fisher", "random"} <= set(texts)
    assert "none" not in texts


@pytest.mark.parametrize("plot", [plot_retained, plot_areas])
def test_nothing_is_clipped(crowd, plot):
    """Neither a mean nor an interval, however low."""
    axes = plot(crowd).axes[0]
    (left, right), (bottom, top) = axes.get_xlim(), sorted(axes.get_ylim())
    worst = min(float(np.min(s.retained.value)) for s in crowd.standings)
    assert worst < -0.8
    for line in axes.lines:
        if line.get_transform() == axes.transData and line.get_linestyle() != "None":
            assert bottom <= np.nanmin(line.get_ydata()) and np.nanmax(line.get_ydata()) <= top
            if plot is plot_areas:
                assert left <= np.nanmin(line.get_xdata()) and np.nanmax(line.get_xdata()) <= right
    for band in axes.collections:
        low, high = band.get_datalim(axes.transData).intervaly
        assert bottom <= low and high <= top


@pytest.mark.parametrize("plot", [plot_retained, plot_profile, plot_ratios])
def test_small_screens_have_pictures_of_their_own(duel, plot):
    """As wide as a telephone, and with text of at least 10 pixels there; digits in the heat map too."""
    figure = plot(rank_policies(duel), True)
    assert figure.get_figwidth() == NARROW_WIDTH
    assert min(text.get_fontsize() for text in figure.findobj(Text) if text.get_text()) >= 7.5


@pytest.mark.parametrize(
    "name", ["$\\frac{$", "$x$", "<b>&", "[link](x)", "_hidden", "a\nb", "=1+1", "\x1b[31m", "%s", "\\"]
)
def test_names_are_drawn_as_they_are(tmp_path, make_results, name):
    cells = {"ratios": {name: 0.5, "latent": 0.2}}
    board = rank_policies(Records(make_results({name: 0.5, "uniform": 0.4}, **{name: cells | {"learned": True}})))
    shown = name.replace("\n", "\\n").replace("\x1b", "\\x1b")
    for plot in (plot_retained, plot_areas, plot_profile, plot_ratios):
        for narrow in (False, True):
            figure = plot(board, narrow)
            save_figure(figure, tmp_path / "plot")
            texts = [text.get_text().strip().replace("\\$", "$") for text in figure.findobj(Text)]
            assert shown in texts, plot
    ElementTree.parse(tmp_path / "plot.svg")


def test_agents_are_thick_and_privileged_policies_dashed(duel):
    lines = {}
    axes = plot_retained(rank_policies(duel)).axes[0]
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


def test_ratios_are_written_into_the_cells(make_results):
    cells = {"ratios": {"encoder": 0.12, "latent": 0.98}}
    texts = [text for text, _ in words(plot_ratios(rank_policies(Records(make_results({"a": 0.5}, a=cells)))))]
    assert texts.count("12") == texts.count("98") == 2  # one panel for each budget
    assert "sparsity 50%" in texts and "sparsity 90%" in texts


@pytest.fixture
def training():
    """Eight episodes in each of three evaluations, for a seed."""

    def make(seed=0, offset=0.0):
        returns = [[offset + step + episode for episode in range(8)] for step in range(3)]
        return AgentTraining(
            algorithm="ppo", env="E", seed=seed, cuts=1200, evaluated_at=[400, 800, 1200], returns=returns
        )

    return make


def test_learning_curves_show_means_against_cuts(training):
    axes = plot_learning_curve([training()]).axes[0]
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), [400, 800, 1200])
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [3.5, 4.5, 5.5])
    assert "cuts" in axes.get_xlabel()


def test_several_seeds_are_thin_lines_and_their_mean_a_thick_one(training):
    axes = plot_learning_curve([training(0), training(1, offset=1.0)]).axes[0]
    assert [line.get_linewidth() > 2 for line in axes.lines] == [False, False, True]
    np.testing.assert_allclose(axes.lines[2].get_ydata(), [4.0, 5.0, 6.0])
    assert "mean of 2 seeds" in axes.get_ylabel()


def test_files_are_whole_and_repeatable(tmp_path, training):
    for folder in ("one", "two"):
        save_figure(plot_learning_curve([training()]), tmp_path / folder / "curve")
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == ["curve.png", "curve.svg"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_one_budget_one_network_one_policy_can_be_drawn(make_result):
    lonely = rank_policies(Records([make_result(learned=True)]))
    for plot in (plot_retained, plot_areas, plot_profile, plot_ratios):
        assert overlapping(plot(lonely)) == []
