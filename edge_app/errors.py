"""The one exception for what a person can cause and mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Wrong use or bad input.

    The message is one sentence that names the thing and the remedy. Command lines print it to standard error without
    a traceback and exit with status 2. Anything that is not a person's doing must not be raised as a ``UserError``.
    """


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the known word nearest to ``word``, or an empty string."""
    nearest = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean '{nearest[0]}'?)" if nearest else ""
