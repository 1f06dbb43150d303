from __future__ import annotations

import json
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.parametrize(("rounds", "commit_s", "longest_s"), [(50, 0.03, 0.15), (4, 0.5, 1.6)])
def test_a_killed_writer_loses_at_most_a_second_and_history_stays_whole(tmp_path, rounds, commit_s, longest_s):
    done = subprocess.run(
        [sys.executable, "-m", "tests.edge_app.storage.killed_while_writing", str(tmp_path), str(rounds),
         str(commit_s), str(longest_s)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert len(result["lost_s"]) == rounds
    assert max(result["lost_s"]) < 1.0
    assert result["events"] == result["different"] > 10 * rounds
