from __future__ import annotations

import pytest
import torch

from prune_env.groups.comparison import differs

INF, NAN = torch.inf, torch.nan


def t(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(
    ("wanted", "got", "different"),
    [
        (t(1, 2), t(1, 2 + 1e-9), False),
        (t(1, 2), t(1, 2 + 1e-5), True),
        (t(1, 2, 1e-20), t(1, 2, 0), False),
        (t(-1e8, -1e8, -1e8, 0.5), t(-1e8, -1e8, -1e8, 0.5001), True),
        (t(-INF, -INF, 0.5), t(-INF, -INF, 0.5001), True),
        (t(-INF, 0.5), t(-INF, 0.5), False),
        (t(-INF, 0.5), t(INF, 0.5), True),
        (t(NAN, 0.5), t(NAN, 0.5), False),
        (t(NAN, 0.5), t(0, 0.5), True),
        (t(1, 2), t(1, NAN), True),
        (t(1, 2), t(1), True),
        (t(1, 2), t(1, 2).float(), True),
        (t(), t(), False),
        (torch.tensor([1, 2]), torch.tensor([1, 3]), True),
        (torch.tensor([True]), torch.tensor([True]), False),
        (torch.complex(t(1), t(2)), torch.complex(t(1), t(2.1)), True),
    ],
)
def test_every_element_is_measured_by_its_own_size(wanted: torch.Tensor, got: torch.Tensor, different: bool) -> None:
    assert differs(wanted, got, precise=True) == different


def test_an_offset_does_not_hide_what_varies_little() -> None:
    wanted, got, scale = t(1e6, 1e6), t(1e6, 1e6 + 1e-3), t(1, 1)
    assert not differs(wanted, got, precise=True)
    assert differs(wanted, got, precise=True, scale=scale)
    assert not differs(wanted, wanted + 1e-9, precise=True, scale=scale)


def test_tiny_outputs_are_measured_by_how_they_vary() -> None:
    assert differs(t(1e-20, 2e-20), t(1e-20, 3e-20), precise=True, scale=t(1e-20, 1e-20))
