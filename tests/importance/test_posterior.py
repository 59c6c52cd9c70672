"""The Bayes posterior over a cut: what was learnt of the channels that stay is kept."""

import torch

from prune_env.importance import ImportanceTracker

KEEP = torch.tensor([True, False, True, True, False])


def measured(tiny, seed):
    generator = torch.Generator().manual_seed(seed)
    for parameter in tiny.model.parameters():
        parameter.grad = torch.rand(parameter.shape, generator=generator)


def test_a_cut_keeps_the_posterior_of_what_stays(tiny):
    tracker = ImportanceTracker(tiny)
    tracker.track(("gradient", "bayes", "bayes_corrected"))
    optimizer = torch.optim.SGD(tiny.model.parameters(), lr=0.1)
    for seed in range(3):
        measured(tiny, seed)
        tracker.after_backward(optimizer)
        tracker.after_step()
    before = tracker.state_dict()
    assert before["bayes.alpha"] == 1 + 3 * 0.25 and before["bayes.beta"].min() > 1
    tiny.cut(KEEP)
    tracker.after_surgery(KEEP)
    after = tracker.state_dict()
    stays = torch.cat([KEEP, torch.ones(2, dtype=torch.bool)])  # channels, then groups
    for measure in ("bayes", "bayes_corrected"):
        assert torch.equal(after[f"{measure}.alpha"], before[f"{measure}.alpha"])
        assert torch.equal(after[f"{measure}.beta"], before[f"{measure}.beta"][stays])
    measured(tiny, 3)
    tracker.after_backward(torch.optim.SGD(tiny.model.parameters(), lr=0.1))
    tracker.after_step()
    grown = tracker.state_dict()
    assert grown["bayes.alpha"] == 1 + 4 * 0.25  # the posterior goes on from there
    assert (grown["bayes.beta"] > after["bayes.beta"]).all()
