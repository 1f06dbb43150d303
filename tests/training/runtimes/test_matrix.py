from __future__ import annotations

import sys

import pytest

from edge_app.config import DEFAULT_MODEL
from training.bundle.golden_frames import SAMPLE_CLIP
from training.runtimes.environments import Runtime, Unavailable, find_python, make_environment
from training.runtimes.matrix import WORKER, compare_runtimes, format_results

HERE = Runtime("here", (), ())
# Runs the worker, then moves every box or score, or drops the best person.
SPOILED = """#!/bin/sh
"{python}" "$@" || exit 1
"{python}" -c "
import sys, numpy as np
content = dict(np.load(sys.argv[1]))
{change}
np.savez(sys.argv[1], **content)
" "$4"
"""


def compare(python_of, frames=2):
    return compare_runtimes(DEFAULT_MODEL, SAMPLE_CLIP, frames, [HERE], WORKER.parent, python_of)


def test_the_same_runtime_in_another_process_gives_the_same_boxes():
    reference, (result,) = compare(lambda runtime, work: sys.executable)
    assert result.same
    assert (result.least_iou, result.most_score, result.problem) == (1.0, 0.0, None)
    assert result.people > 5
    text = format_results(DEFAULT_MODEL, 2, reference, [result])
    assert text.splitlines()[-1].endswith("| 1.0000 | 0.0000 | same |")


@pytest.mark.parametrize(
    ("change", "least_iou", "most_score"),
    [
        ("content['output_0'] = content['output_0'] + 0.002", 0.99, 0.001),
        ("content['output_2'] = content['output_2'] + 0.01", 1.0, 0.0101),
        ("content['output_2'][:, 0] = 0", 1.0, 1.0),
        ("content['output_3'][:] = 0", 0.0, 0.0),
    ],
)
def test_other_boxes_are_found(tmp_path, change, least_iou, most_score):
    program = tmp_path / "python"
    program.write_text(SPOILED.format(python=sys.executable, change=change))
    program.chmod(0o755)
    _, (result,) = compare(lambda runtime, work: program)
    assert not result.same
    assert result.most_score <= most_score


def test_a_runtime_that_cannot_be_had_is_named():
    def unavailable(runtime, work):
        raise Unavailable("no Python 3.8 is here")

    reference, results = compare(unavailable)
    assert results[0].problem == "no Python 3.8 is here"
    assert "not run: no Python 3.8 is here" in format_results(DEFAULT_MODEL, 2, reference, results)


def test_a_runtime_that_crashes_is_named(tmp_path):
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho 'ImportError: numpy.core.multiarray' >&2\nexit 1\n")
    program.chmod(0o755)
    _, (result,) = compare(lambda runtime, work: program)
    assert result.problem == "ImportError: numpy.core.multiarray"


def test_a_python_that_is_not_here_is_not_made_up(tmp_path):
    assert find_python(("2.9",)) is None
    with pytest.raises(Unavailable, match=r"no Python 2\.9 is here"):
        make_environment(Runtime("x", ("x",), ("2.9",)), tmp_path)
