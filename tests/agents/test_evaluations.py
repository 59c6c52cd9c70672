"""The learning curve on disk: what SB3 would write, atomic, with a checksum, validated array by array."""

import zipfile

import numpy as np
import pytest

from prune_env.agents.evaluations import Evaluations, read_evaluations

CURVE = Evaluations(np.array([8, 16]), np.array([[0.1, 0.2], [0.3, 0.4]]), np.array([[1, 1], [1, 1]]))


def arrays(**changes):
    return {"timesteps": CURVE.timesteps, "results": CURVE.results, "ep_lengths": CURVE.lengths} | changes


def test_it_comes_back_and_reads_like_sb3s(tmp_path):
    path = tmp_path / "evaluations.npz"
    CURVE.write(path)
    found = read_evaluations(path)
    assert all(np.array_equal(getattr(found, n), getattr(CURVE, n)) for n in ("timesteps", "results", "lengths"))
    with np.load(path) as file:
        np.testing.assert_array_equal(file["results"], CURVE.results)


def test_every_flipped_byte_is_seen(tmp_path):
    path = tmp_path / "evaluations.npz"
    CURVE.write(path)
    good = path.read_bytes()
    for place in range(0, len(good), 7):
        path.write_bytes(good[:place] + bytes([good[place] ^ 0x10]) + good[place + 1 :])
        try:
            found = read_evaluations(path)
        except ValueError as error:
            assert "delete it: the next training" in str(error)
        else:  # a byte of the zip that says nothing, such as a date
            assert np.array_equal(found.results, CURVE.results)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"timesteps": np.array([16, 8])}, "ascend"),
        ({"timesteps": np.array([8.0, np.nan])}, "finite"),
        ({"timesteps": np.array([8])}, "1 timesteps for 2"),
        ({"results": np.array([["a", "b"], ["c", "d"]])}, "numbers"),
        ({"results": np.full((2, 2), np.inf)}, "finite"),
        ({"results": np.zeros(2)}, r"\[E, M\]"),
        ({"ep_lengths": np.zeros((2, 2), int)}, "at least 1"),
        ({"results": np.array([[{}], [{}]], dtype=object)}, "allow_pickle"),
    ],
)
def test_arrays_are_validated(tmp_path, changes, message):
    path = tmp_path / "evaluations.npz"
    np.savez(path, checksum="of others", **arrays(**changes))
    with pytest.raises(ValueError, match=message):
        read_evaluations(path)


def test_a_zip_bomb_is_refused(tmp_path):
    path = tmp_path / "evaluations.npz"
    CURVE.write(path)
    with zipfile.ZipFile(path, "a", compression=zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(20_000_000))
    with pytest.raises(ValueError, match="would unpack to"):
        read_evaluations(path)
