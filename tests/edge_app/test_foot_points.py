from __future__ import annotations

import numpy as np
import pytest

from edge_app.foot_points import BODY_HEIGHT_M, find_feet, implied_heights
from edge_app.records import Detections
from tests.edge_app.synthetic import boxes_of_people, camera_looking_down
from tests.edge_app.test_camera import homography_of

CAMERA = camera_looking_down(height_m=3.0, tilt_deg=20.0)


def cut(detections: Detections, bottom_px: float) -> Detections:
    """Cut boxes off at an image row."""
    bbox = detections.bbox.copy()
    bbox[:, 3] = np.minimum(bbox[:, 3], bottom_px)
    return Detections(bbox, detections.score)


@pytest.mark.parametrize("height_m", [1.0, 1.7, 2.0])
def test_the_implied_height_is_the_real_one(height_m):
    people = np.array([[0.0, 5.0], [2.0, 9.0], [-3.0, 14.0]])
    boxes = boxes_of_people(CAMERA, people, person_m=height_m).bbox.astype(float)
    feet = np.column_stack([(boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 3]])
    heads = np.column_stack([feet[:, 0], boxes[:, 1]])
    np.testing.assert_allclose(implied_heights(CAMERA, feet, heads), height_m, atol=0.02)


def test_boxes_of_an_impossible_height_are_dropped_and_counted():
    people = boxes_of_people(CAMERA, np.array([[0.0, 8.0]]))
    giant = boxes_of_people(CAMERA, np.array([[2.0, 8.0]]), person_m=3.5)
    dog = boxes_of_people(CAMERA, np.array([[-2.0, 8.0]]), person_m=0.5)
    both = Detections(np.vstack([people.bbox, giant.bbox, dog.bbox]), np.full(3, 0.9, np.float32))
    feet = find_feet(CAMERA, both, 720)
    assert feet.dropped == 2
    np.testing.assert_array_equal(feet.detections.bbox, people.bbox)


def test_a_box_cut_by_the_border_gets_its_foot_from_the_head():
    person = boxes_of_people(CAMERA, np.array([[0.3, 2.2]]), person_m=BODY_HEIGHT_M)
    assert person.bbox[0, 3] > 720
    feet = find_feet(CAMERA, cut(person, 720.0), 720)
    assert feet.from_head.tolist() == [True]
    assert feet.measurements.position[0, 1] == pytest.approx(person.bbox[0, 3], abs=1.0)
    uncut = find_feet(CAMERA, boxes_of_people(CAMERA, np.array([[0.3, 6.0]])), 720)
    assert feet.measurements.variance[0, 1] > uncut.measurements.variance[0, 1]


def test_legs_hidden_by_a_nearer_person_do_not_move_the_foot():
    far = boxes_of_people(CAMERA, np.array([[0.0, 9.0]]), person_m=BODY_HEIGHT_M)
    near = boxes_of_people(CAMERA, np.array([[0.0, 6.5]]), person_m=BODY_HEIGHT_M)
    hidden = cut(far, float(far.bbox[0, 1] + 0.5 * (far.bbox[0, 3] - far.bbox[0, 1])))
    scene = Detections(np.vstack([hidden.bbox, near.bbox]), np.full(2, 0.9, np.float32))
    feet = find_feet(CAMERA, scene, 720)
    assert feet.from_head.tolist() == [True, False]
    assert feet.measurements.position[0, 1] == pytest.approx(far.bbox[0, 3], abs=1.0)
    assert CAMERA.image_to_ground(feet.measurements.position[:1, :2])[0, 1] == pytest.approx(9.0, abs=0.1)


def test_a_child_who_is_not_hidden_keeps_its_own_foot():
    child = boxes_of_people(CAMERA, np.array([[0.0, 8.0]]), person_m=1.1)
    feet = find_feet(CAMERA, child, 720)
    assert feet.from_head.tolist() == [False]
    assert feet.measurements.position[0, 1] == pytest.approx(child.bbox[0, 3])


@pytest.mark.parametrize("camera", [None, homography_of(CAMERA)], ids=["no camera", "homography"])
def test_without_a_pose_feet_are_the_bottom_of_the_box(camera):
    giant = boxes_of_people(CAMERA, np.array([[2.0, 8.0]]), person_m=3.5)
    feet = find_feet(camera, giant, 720)
    assert feet.dropped == 0
    assert feet.measurements.position[0, 1] == pytest.approx(giant.bbox[0, 3])


def boxes(*rows):
    return Detections(np.array([row[:4] for row in rows], np.float32), np.array([row[4] for row in rows], np.float32))


@pytest.mark.parametrize("order", [1, -1])
def test_the_same_person_twice_is_one_and_the_surer_box_stays(order):
    """Two boxes with an IoU of 0.82."""
    found = find_feet(None, boxes(*[(100, 100, 200, 400, 0.6), (110, 100, 210, 400, 0.9)][::order]), 720)
    assert found.duplicates == 1
    assert found.detections.score.tolist() == pytest.approx([0.9])
    assert len(found.measurements) == 1


def test_a_box_of_the_upper_body_inside_the_whole_one_is_the_same_person():
    found = find_feet(None, boxes((100, 100, 200, 400, 0.9), (110, 105, 190, 240, 0.7)), 720)
    assert found.duplicates == 1
    assert found.detections.bbox.tolist() == [[100, 100, 200, 400]]


def test_two_far_people_side_by_side_are_two():
    """Small boxes, 0.02 x 0.05 of the picture, that do not overlap."""
    found = find_feet(None, boxes((600, 300, 625.6, 336, 0.8), (626, 300, 651.6, 336, 0.7)), 720)
    assert (found.duplicates, len(found.detections)) == (0, 2)


def test_who_stands_behind_another_is_not_taken_for_the_same():
    """One metre behind on the line of sight: the head is higher in the picture."""
    both = boxes_of_people(CAMERA, np.array([[0.0, 6.0], [0.0, 7.0]]))
    assert find_feet(CAMERA, both, 720).duplicates == 0


def test_three_boxes_in_a_row_do_not_wipe_out_one_another():
    """The middle one repeats the surest; the last repeats only the middle one, which does not stay."""
    found = find_feet(None, boxes((0, 0, 100, 300, 0.9), (10, 0, 110, 300, 0.8), (20, 0, 120, 300, 0.7)), 720)
    assert found.detections.bbox[:, 0].tolist() == [0, 20]
