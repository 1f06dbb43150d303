from __future__ import annotations

import threading
import time

import pytest

from edge_app.live.inference_thread import InferenceThread


@pytest.fixture
def inference():
    thread = InferenceThread()
    thread.start()
    yield thread
    thread.stop(time.monotonic() + 2.0)


def test_work_is_done_in_order_and_its_result_comes_back(inference):
    pending = [inference.submit(lambda k=k: k * k) for k in range(5)]
    assert [item.result() for item in pending] == [0, 1, 4, 9, 16]
    assert inference.inferences == 5


def test_what_fails_is_raised_where_it_was_asked_for_and_harms_nobody_else(inference):
    failed = inference.submit(lambda: 1 / 0)
    fine = inference.submit(lambda: "fine")
    with pytest.raises(ZeroDivisionError):
        failed.result()
    assert fine.result() == "fine"
    assert inference.failed == 1


def test_a_fast_camera_does_not_crowd_out_a_slow_one(inference):
    done = {"greedy": 0, "modest": 0}
    until = time.monotonic() + 0.6

    def camera(name, others):
        while time.monotonic() < until:
            with inference.turn():
                inference.submit(lambda: time.sleep(0.005))
                done[name] += 1

    threads = [threading.Thread(target=camera, args=("greedy", k)) for k in range(1)]
    threads.append(threading.Thread(target=camera, args=("modest", 0)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0.7 < done["greedy"] / done["modest"] < 1.4


def test_preparation_begins_shortly_before_the_accelerator_is_free(inference):
    for _ in range(5):
        inference.submit(lambda: time.sleep(0.1)).result()
    pending = inference.submit(lambda: time.sleep(0.1))
    started = time.monotonic()
    inference.wait_until_nearly_free(0.03)
    assert 0.04 < time.monotonic() - started < 0.1
    pending.result()
    started = time.monotonic()
    inference.wait_until_nearly_free(0.03)
    assert time.monotonic() - started < 0.02


def test_stopping_does_not_wait_for_work_that_hangs():
    thread = InferenceThread()
    thread.start()
    hang = threading.Event()
    thread.submit(hang.wait)
    started = time.monotonic()
    thread.stop(started + 0.3)
    assert time.monotonic() - started < 1.0
    with pytest.raises(RuntimeError, match="stopped"):
        thread.submit(lambda: 1).result()
    hang.set()


def test_side_by_side_as_many_run_at_once_as_asked_for_and_results_go_where_they_belong():
    thread = InferenceThread(at_once=2)
    thread.start()
    both = threading.Barrier(2, timeout=5.0)
    pending = [thread.submit(lambda k=k: (both.wait() >= 0, k)) for k in range(6)]
    assert [item.result() for item in pending] == [(True, k) for k in range(6)]
    assert thread.inferences == 6
    thread.stop(time.monotonic() + 2.0)
    with pytest.raises(RuntimeError, match="stopped"):
        thread.submit(lambda: 1).result()
