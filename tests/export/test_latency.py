"""One definition of latency: the median of calls that take turns."""

import time

import pytest
import torch
from small_classifier import FUNCTIONS, X, trained
from torch import nn

from prune_env import ModuleTarget, prune
from prune_env.export.latency import compare_torch, time_calls


def test_calls_are_timed_in_turns_and_intervals_hold_the_median():
    order = []

    def busy(name, seconds):
        order.append(name)
        begun = time.thread_time()
        while time.thread_time() - begun < seconds:
            pass

    def slow():
        busy("slow", 0.004)

    def fast():
        busy("fast", 0.001)
        time.sleep(0.01)  # somebody else's time

    one, other = time_calls([slow, fast], seconds=0.1)
    assert one.runs == other.runs >= 5 and order[-4:] == ["slow", "fast"] * 2
    assert 0.004 <= one.low <= one.median <= one.high and 0.001 <= other.median < one.median


def test_calls_have_one_thread_and_no_gradients():
    seen = []
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        time_calls([lambda: seen.append((torch.get_num_threads(), torch.is_grad_enabled()))], seconds=0.001)
    finally:
        torch.set_num_threads(threads)
    assert set(seen) == {(1, False)}


class Wide(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.body, self.head = nn.Linear(8, width), nn.Linear(width, 4)

    def forward(self, x):
        return self.head(self.body(x).relu())


def test_a_much_smaller_network_is_faster_and_modes_are_put_back():
    large, small = Wide(60_000).train(), Wide(8)
    timings = compare_torch(ModuleTarget(large, **FUNCTIONS), large, small, (1, 16), 0.1)
    assert [(t.engine, t.entry, t.batch) for t in timings] == [("torch", "forward", 1), ("torch", "forward", 16)]
    assert all(t.speedup > 2 for t in timings) and large.training and small.training


def test_the_report_has_latency_and_measures_onnxruntime_when_asked():
    pytest.importorskip("onnxruntime")
    result = prune(trained(), **FUNCTIONS, budget=0.5, policy="uniform", steps=2, progress=False)
    assert [(t.entry, t.batch) for t in result.report.latency] == [("forward", 1), ("forward", 16)]
    result.measure_latency((1,))
    assert [t.engine for t in result.report.latency] == ["torch", "onnxruntime"]
    assert "forward, onnxruntime, batch 1" in str(result)
    with pytest.raises(ValueError, match="unknown engine 'tensorrt'"):
        result.measure_latency(engines=("tensorrt",))
    assert torch.equal(result.dense.eval()(X), trained()(X))
