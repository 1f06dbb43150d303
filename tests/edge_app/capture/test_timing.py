from __future__ import annotations

import numpy as np

from edge_app.capture.backoff import Backoff
from edge_app.capture.freshness import FrozenPicture
from edge_app.capture.media_clock import MediaClock
from edge_app.records import Frame


def test_pauses_grow_stay_bounded_and_are_never_under_a_second():
    backoff = Backoff(seed=3)
    pauses = [backoff.next_pause_s() for _ in range(60)]
    assert all(1.0 <= pause <= 31.0 for pause in pauses)
    assert np.mean(pauses[:3]) < 5.0 < np.mean(pauses[10:])


def test_two_devices_do_not_come_back_together():
    first, second = Backoff(seed=1), Backoff(seed=2)
    assert [first.next_pause_s() for _ in range(5)] != [second.next_pause_s() for _ in range(5)]


def test_after_a_success_pauses_are_short_again():
    backoff = Backoff(seed=1)
    for _ in range(10):
        backoff.next_pause_s()
    backoff.reset()
    assert backoff.next_pause_s() <= 2.0


def test_times_are_spaced_as_the_source_says_although_arrivals_jitter():
    rng = np.random.default_rng(0)
    clock = MediaClock()
    times = [clock.time_s(100 + k / 10 + rng.uniform(0, 0.08), 5000 + k / 10) for k in range(50)]
    np.testing.assert_allclose(np.diff(times), 0.1, atol=1e-9)


def test_a_jump_of_the_sources_clock_is_no_jump_in_time():
    clock = MediaClock()
    stamps = [k / 10 for k in range(10)] + [86400 + k / 10 for k in range(10)] + [k / 10 for k in range(10)]
    times = [clock.time_s(100 + k / 10, stamp) for k, stamp in enumerate(stamps)]
    assert np.all(np.diff(times) > 0)
    np.testing.assert_allclose(times, 100 + np.arange(30) / 10, atol=0.2)


def test_a_source_without_times_gets_those_of_arrival_and_time_never_stands_still():
    clock = MediaClock()
    np.testing.assert_allclose([clock.time_s(1.0 + k, None) for k in range(3)], [1.0, 2.0, 3.0])
    stuck = MediaClock()
    assert np.all(np.diff([stuck.time_s(7.0, 0.04) for _ in range(5)]) > 0)


def picture(index, value=90, noise=0):
    image = np.full((120, 160, 3), value, np.uint8)
    image += np.random.default_rng(index).integers(0, noise + 1, image.shape, dtype=np.uint8)
    return Frame(image, index, index / 10)


def test_a_picture_that_never_changes_is_frozen():
    watch = FrozenPicture(2.0)
    assert [watch.is_frozen(picture(k), k / 10) for k in range(25)].index(True) == 20


def test_a_quiet_place_is_not_frozen_since_its_sensor_has_noise():
    watch = FrozenPicture(2.0)
    assert not any(watch.is_frozen(picture(k, noise=2), k / 10) for k in range(50))


def test_one_frame_that_is_looked_at_twice_is_not_frozen():
    watch = FrozenPicture(2.0)
    assert not any(watch.is_frozen(picture(1), k / 10) for k in range(50))
