"""Independent work in processes: results as they come, and an end that does not wait."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from prune_env.parallel import map_unordered, one_thread


def double(x):
    return 2 * x


def fail_or_sleep(x):
    if x == 0:
        raise ValueError("the first one fails")
    time.sleep(60)


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_item_once(jobs):
    assert sorted(map_unordered(double, range(5), jobs, "test")) == [0, 2, 4, 6, 8]


def test_a_failure_does_not_wait_for_the_others():
    begun = time.monotonic()
    with pytest.raises(ValueError, match="the first one fails"):
        list(map_unordered(fail_or_sleep, range(3), 2, "test"))
    assert time.monotonic() - begun < 40


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda sign: sign.name)
def test_a_signal_to_the_parent_ends_everything(tmp_path, sign):
    script = tmp_path / "script.py"
    script.write_text(
        "import signal\nimport time\nfrom prune_env.parallel import map_unordered\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # jobs in the background are born deaf to it
        "def work(x):\n    print('working', flush=True)\n    time.sleep(120)\n"
        "if __name__ == '__main__':\n    list(map_unordered(work, range(4), 2, 'test'))\n"
    )
    process = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, start_new_session=True, text=True)
    try:
        assert process.stdout.readline() == "working\n"
        process.send_signal(sign)  # to the parent alone, as `kill` does
        assert process.wait(timeout=30) != 0
        assert process.stdout.read().count("working") <= 1  # its pipe is closed: no worker holds it any more
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


# ---------------------------------------------------------------------- threads
@pytest.fixture
def two_threads():
    """A caller with two torch threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def threads(_):
    return torch.get_num_threads()


def test_within_there_is_one_thread_and_afterwards_what_there_was(two_threads):
    with one_thread():
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    with pytest.raises(ValueError, match="within"), one_thread():
        raise ValueError("within")
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("jobs", [1, 2])
def test_work_has_one_thread_wherever_it_is_done(two_threads, jobs):
    for found in map_unordered(threads, range(3), jobs, "test"):
        assert found == 1 and torch.get_num_threads() == 2
