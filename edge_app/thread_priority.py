"""Who goes first where the model and everything around it share the processor."""

from __future__ import annotations

import os
import threading

# The last of Linux's priorities, which it keeps for each thread; everybody may lower their own.
_LAST = 19


def leave_the_processor_to_the_model() -> None:
    """Let the calling thread, and those that it starts, run when the model's threads do not.

    An inference is as fast as the slowest of its threads: one that is interrupted for a picture to be decoded holds up
    the others. What else there is to do fits into the gaps that they leave, only later; so this is for where every
    frame counts and none is late.
    """
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LAST)
