"""Public models are cut rightly, and enough of each is prunable: `make test-models`, in an environment of its own."""

import pytest

pytest.importorskip("timm", reason="the models are installed by `make test-models`")
pytest.importorskip("diffusers")

import zoo
from make_table import below, measured

pytestmark = pytest.mark.models


@pytest.mark.parametrize("key", zoo.names())
def test_cut_like_the_dense_network_and_prunable_enough(key: str) -> None:
    assert below(measured(key, limit=900)) is None
