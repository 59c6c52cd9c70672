"""What a target says of itself: how it is trained densely."""

import pytest

from prune_env.targets import DenseTraining, make_target


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", -1),
        ("steps", 1.5),
        ("anneal_after", 1.1),
        ("steps_per_epoch", 0),
        ("eval_every", 0),
        ("keep", "newest"),
    ],
)
def test_impossible_plans_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        DenseTraining(**{field: value})


def test_controllers_keep_the_best_and_autoencoders_the_last():
    assert make_target("autoencoder").dense_training.keep == "last"
    assert make_target("tdmpc", dense_steps=7, eval_every=3, steps_per_epoch=5).dense_training == DenseTraining(
        7, steps_per_epoch=5, keep="best", eval_every=3
    )
