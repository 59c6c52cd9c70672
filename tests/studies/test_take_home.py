"""The study of what taking a network home gives: its rows on a tiny network, and its page."""

import torch
from small_classifier import FUNCTIONS, trained

from prune_env.studies.take_home import sizes_and_times
from prune_env.studies.take_home.beside_torch_pruning import beside_torch_pruning
from prune_env.studies.take_home.networks import ResNet, Subject, Transformer
from prune_env.studies.take_home.page import page


def tiny():
    model, score = trained(), FUNCTIONS["score"]
    functions = {**FUNCTIONS, "score": lambda model, split="validation": score(model, split), "floor": 0.1}
    return Subject("tiny", model, functions, {}, [model.head])


def test_both_reach_one_sparsity_and_the_row_has_what_they_took():
    row = beside_torch_pruning(tiny(), steps=5)
    assert 0.3 < row["sparsity"] <= row["sparsity_ours"] < row["sparsity"] + 0.1
    assert -1 <= row["R"] <= 1.5 and -1 <= row["R_torch_pruning"] <= 1.5
    assert row["seconds"] >= row["seconds_ours"] > 0 and row["seconds_torch_pruning"] > 0


def test_shapes_are_those_that_the_page_names():
    assert 11.1e6 < sum(p.numel() for p in ResNet().parameters()) < 11.3e6
    transformer = Transformer()
    assert 2.3e6 < sum(p.numel() for p in transformer.parameters()) < 2.5e6
    assert ResNet(4)(torch.zeros(2, 1, 8, 8)).shape == transformer(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


def test_the_page_has_a_table_for_each_part(monkeypatch):
    monkeypatch.setattr(sizes_and_times, "WIDTHS", (16,))
    speed = beside_torch_pruning(tiny(), steps=1)
    size = {
        "network": "tiny",
        "policy": "uniform",
        "R": [0.5, 0.75],
        "bytes": [2000, 1000],
        "latency": {"torch, 1": [[10.0, 9.0, 11.0], [5.0, 4.0, 6.0]]},
    }
    text = page({"speed of tiny": [speed], "classifier": [size], "widths": [{"width": 16, "torch, 1": 1.234}]}, 1, 2)
    assert "0.625 (0.500 to 0.750)" in text and "10 [9, 11] to 5 [4, 6]" in text and "1.23" in text
    assert text.count("\n## ") == 3 and "## " not in page({}, 1, 1).partition("\n")[2]
