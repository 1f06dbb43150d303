"""Stands in for the child process that holds the Edge TPU; the first argument says what it does wrong, and when.

Its model takes a (1, 2, 2, 3) uint8 picture (FAKE_CHILD_SIDE makes it larger) and gives the detector's four outputs:
one person over all of the picture, with the first pixel as the score in percent.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
import time

import numpy as np

HEADER = struct.Struct("<cI")


def say(kind, content):
    sys.stdout.buffer.write(HEADER.pack(kind, len(content)) + content)
    sys.stdout.buffer.flush()


def tensor(name, shape, dtype="float32"):
    return {"name": name, "shape": shape, "dtype": dtype, "quantization": [0.0, 0]}


def misbehave(how):
    if how == "hang":
        time.sleep(600)
    if how == "die":
        os.kill(os.getpid(), signal.SIGSEGV)
    if how == "raise":
        raise RuntimeError("the driver raised")
    if how == "refuse":
        say(b"E", b"no Edge TPU answers; connect it")
        sys.exit(0)
    if how == "babble":
        sys.stdout.buffer.write(b"INFO: not a message at all\n")
        sys.stdout.buffer.flush()
        time.sleep(600)


def main():
    when, _, how = sys.argv[1].partition(":")
    if when == "open":
        misbehave(how)
    outputs = [tensor("b", [1, 1, 4]), tensor("c", [1, 1]), tensor("s", [1, 1]), tensor("n", [1])]
    side = int(os.environ.get("FAKE_CHILD_SIDE", "2"))
    say(b"R", json.dumps({"inputs": [tensor("in", [1, side, side, 3], "uint8")], "outputs": outputs}).encode())
    count = 0
    while len(header := sys.stdin.buffer.read(HEADER.size)) == HEADER.size:
        pixels = sys.stdin.buffer.read(HEADER.unpack(header)[1])
        if when.isdigit() and count == int(when):
            misbehave(how)
        count += 1
        values = ([0, 0, 1, 1], [0], [pixels[0] / 100], [1])
        say(b"O", b"".join(np.array(value, np.float32).tobytes() for value in values))


main()
