"""Reports as numbers and as words."""

import json
import math

from prune_env.api.report import GroupReport, Report, Scores, Trial
from prune_env.export.latency import Latency, Timing


def report(**changes):
    fields = {
        "name": "net",
        "policy": "l2",
        "unit": "macs",
        "budget": 0.6,
        "keep": None,
        "groups": [GroupReport("a", "coupling", ("x", "y"), 8, 2)],
        "costs": {"parameters": (100, 50), "macs": (200, 60)},
        "size": (10, 5),
        "scores": {"validation": Scores(-2.0, 2.0, 0.75, 0.5)},
        "trials": [Trial("l2", 0.6, 0.7, 0.75, 4, 1.0)],
        "seconds": {"total": 2.0, "ours": 0.5},
    }
    return Report(**fields | changes)


def test_numbers_follow_from_each_other():
    made = report()
    assert made.sparsity == 0.7 and made.retained == 0.75 and made.groups[0].kept == 0.25
    assert made.scores["validation"].score(0.75) == 1.0
    assert report(scores=made.scores | {"test": Scores(0, 1, 0.5)}).retained == 0.5


def test_words_say_what_the_numbers_are():
    timing = Latency("torch", "forward", 16, Timing(0.004, 0.003, 0.005, 9), Timing(0.001, 0.001, 0.002, 9))
    text = str(report(latency=[timing]))
    assert "net: 70.0% of the macs removed by l2, R = 0.750" in text and "8 -> 2" in text and "25%" in text
    assert "forward, torch, batch 16: 4.000 -> 1.000 ms (x4.00)" in text
    assert "score on validation: 2 -> 1 (R 0.750), 0 (R 0.500) before fine-tuning" in text
    assert "tried: 5 cuts in 2.0 s, of which 0.5 s are ours" in text


def test_the_report_is_json_whatever_the_numbers():
    made = report(scores={"validation": Scores(math.nan, 1.0, 0.5)})
    said = json.loads(json.dumps(made.asdict(), allow_nan=False))
    assert said["scores"]["validation"]["floor"] is None and said["groups"][0]["components"] == ["x", "y"]
