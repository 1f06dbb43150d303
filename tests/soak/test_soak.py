from __future__ import annotations

import json
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_two_minutes_of_faults_leave_nothing_behind():
    command = [sys.executable, "-m", "tests.soak.soak", "--minutes", "1.6", "--fault-every-s", "5", "--warm-up-s", "8"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    result = json.loads(done.stdout)
    assert result["failures"] == [], done.stdout + done.stderr[-2000:]
    assert result["faults_recovered"]["accelerator killed"] >= 1
    assert result["faults_recovered"]["disk full"] >= 1
