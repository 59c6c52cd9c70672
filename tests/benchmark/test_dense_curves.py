"""The picture of dense training: a line for each network, and a ring at the evaluation that was kept."""

from prune_env.benchmark.dense_curves import plot_dense_training
from prune_env.dense.loop import Evaluation


def test_a_line_for_each_network_and_a_ring_where_it_was_kept():
    histories = {
        "seed=0": [
            Evaluation(step, 1.0, 1.0 / step, value, {}) for step, value in [(10, -3.0), (20, -1.0), (30, -2.0)]
        ],
        "seed=1": [Evaluation(10, 1.0, 0.5, -4.0, {})],
    }
    value, loss = plot_dense_training(histories, "return").axes
    drawn = [(list(line.get_xdata()), list(line.get_ydata())) for line in value.get_lines()]
    assert drawn == [([10, 20, 30], [-3.0, -1.0, -2.0]), ([20], [-1.0]), ([10], [-4.0]), ([10], [-4.0])]
    assert [list(line.get_ydata()) for line in loss.get_lines()] == [[1 / 10, 1 / 20, 1 / 30], [0.5]]
    assert value.get_ylabel() == "return on validation data"
