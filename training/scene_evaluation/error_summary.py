"""Distribution of absolute errors of a length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_app.records import FloatArray

# Pairs of people under this distance are those that a threshold of a metre or two is decided on.
NEAR_M = 4.0


@dataclass(frozen=True)
class ErrorSummary:
    """Median and 90th percentile of absolute errors, metres; NaN where there is nothing."""

    count: int
    median_m: float
    p90_m: float

    @staticmethod
    def of(errors_m: FloatArray) -> ErrorSummary:
        """Summarise (N,) absolute errors, metres."""
        if len(errors_m) == 0:
            return ErrorSummary(0, float("nan"), float("nan"))
        median, p90 = np.percentile(errors_m, [50, 90])
        return ErrorSummary(len(errors_m), float(median), float(p90))
