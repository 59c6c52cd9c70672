"""Independent work in processes: results as they come, and an end that does not wait."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from prune_env.parallel import WorkerLostError, map_unordered, mapping, one_thread


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


@pytest.mark.parametrize("sign", [signal.SIGINT], ids=["SIGINT"])
def test_an_interrupt_of_the_whole_group_is_the_parents_business(tmp_path, sign):
    script = tmp_path / "script.py"
    script.write_text(
        "import signal\nimport time\nfrom prune_env.parallel import map_unordered\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def work(x):\n    time.sleep(120)\n"
        "if __name__ == '__main__':\n    try:\n        print('begun', flush=True)\n"
        "        list(map_unordered(work, range(4), 2, 'test'))\n"
        "    except KeyboardInterrupt:\n        raise SystemExit(7)\n"
    )
    process = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, text=True
    )
    try:
        assert process.stdout.readline() == "begun\n"
        time.sleep(0.4)  # workers have been started, and still import
        os.killpg(process.pid, sign)  # as a terminal does
        assert process.wait(timeout=30) == 7
        assert "Traceback" not in process.stderr.read()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def hears_interrupts(_):
    return signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_workers_never_hear_an_interrupt_not_even_while_they_start():
    assert list(map_unordered(hears_interrupts, range(2), 2, "test")) == [False, False]
    assert hears_interrupts(None)


# ---------------------------------------------------------------------- messages
def count(x, send):
    for i in range(3):
        send((x, i))
    return x


@pytest.mark.parametrize("jobs", [1, 2])
def test_messages_come_once_in_order_and_before_the_result(jobs):
    heard, done = [], []
    listen = lambda item, message: heard.append((item, message))  # noqa: E731
    for result in map_unordered(count, range(4), jobs, "test", on_message=listen):
        done.append(result)
        assert [message for item, message in heard if item == result] == [(result, i) for i in range(3)]
    assert sorted(done) == [0, 1, 2, 3] and len(heard) == 12


def test_messages_of_a_job_that_is_run_again_are_not_heard_again():
    heard = []
    inbox = mapping._Inbox(["a", "b"], lambda item, content: heard.append((item, content)))
    for job, number, content in [(0, 0, "x"), (1, 0, "y"), (0, 0, "x"), (0, 2, "too early"), (0, 1, "z"), (0, 2, "w")]:
        inbox.take(job, number, content)
    assert heard == [("a", "x"), ("b", "y"), ("a", "z"), ("a", "w")]


def test_a_worker_that_is_killed_ends_in_a_sentence():
    with pytest.raises(WorkerLostError, match="a worker process ended before its job was done"):
        list(map_unordered(die, range(2), 2, "test"))


def die(x):
    os.kill(os.getpid(), signal.SIGKILL)


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
