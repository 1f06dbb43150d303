from __future__ import annotations

import sys

import pytest

from edge_app.config import DEFAULT_MODEL
from training.bundle.golden_frames import SAMPLE_CLIP
from training.runtimes.environments import Runtime, Unavailable, find_python, make_environment
from training.runtimes.matrix import WORKER, compare_runtimes, format_results
from training.runtimes.same_boxes import Sameness

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


def compare(*pythons, frames=2):
    """Run as many runtimes as there are Pythons."""
    runtimes = [Runtime(f"here {index}", (), ()) for index in range(len(pythons))]
    chosen = dict(zip(runtimes, pythons))
    return compare_runtimes(DEFAULT_MODEL, SAMPLE_CLIP, frames, runtimes, WORKER.parent, lambda run, _: chosen[run])


def test_the_same_runtime_in_another_process_gives_the_same_with_either_kernels():
    results = compare(sys.executable, sys.executable)
    assert [result.kernels for result in results] == ["reference", "reference", "fast", "fast"]
    for result in results:
        assert result.problem is None
        assert result.sameness == Sameness(result.sameness.people, 1.0, 0.0, 0, 0, 0.0, 0.0)
        assert result.sameness.people > 5
    text = format_results(DEFAULT_MODEL, 2, results)
    assert text.count("| 0.0 % | 0.0000 |") == text.count("| 0 | 1.0000 | 0.0000 | same |") == 4


@pytest.mark.parametrize(
    ("change", "most_score", "ties"),
    [
        ("content['output_0'] = content['output_0'] + 0.002", 0.001, True),
        ("content['output_0'] += 0.002; content['raw_1'] = content['raw_1'] + 0.01", 0.001, False),
        ("content['output_2'] = content['output_2'] + 0.01", 0.0101, False),
        ("content['output_2'][:, 0] = 0", 1.0, False),
        ("content['output_3'][:] = 0", 0.0, False),
    ],
)
def test_other_boxes_are_found(tmp_path, change, most_score, ties):
    program = tmp_path / "python"
    program.write_text(SPOILED.format(python=sys.executable, change=change))
    program.chmod(0o755)
    results = compare(sys.executable, program)
    for result in results[1::2]:
        assert result.sameness.apart > 0
        assert result.sameness.same == ties
        assert result.sameness.most_score <= most_score
    assert f"but for {results[1].sameness.ties} of equal score" in format_results(DEFAULT_MODEL, 2, results) or not ties


def test_a_runtime_that_cannot_be_had_is_named():
    def unavailable(runtime, work):
        raise Unavailable("no Python 3.8 is here")

    results = compare_runtimes(DEFAULT_MODEL, SAMPLE_CLIP, 2, [Runtime("x", (), ())], WORKER.parent, unavailable)
    assert results[0].problem == "no Python 3.8 is here"
    assert "not run: no Python 3.8 is here" in format_results(DEFAULT_MODEL, 2, results)


def test_a_runtime_that_crashes_is_named(tmp_path):
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho 'ImportError: numpy.core.multiarray' >&2\nexit 1\n")
    program.chmod(0o755)
    assert compare(program)[0].problem == "ImportError: numpy.core.multiarray"


def test_a_python_that_is_not_here_is_not_made_up(tmp_path):
    assert find_python(("2.9",)) is None
    with pytest.raises(Unavailable, match=r"no Python 2\.9 is here"):
        make_environment(Runtime("x", ("x",), ("2.9",)), tmp_path)
