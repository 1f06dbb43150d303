"""How long before the accelerator is free a frame has to be taken, so that it is ready in time and still new."""

from __future__ import annotations

# Estimated as TCP estimates its timeouts (RFC 6298): a smoothed mean, and a smoothed deviation from it.
_MEAN_GAIN, _DEVIATION_GAIN = 1 / 8, 1 / 4
_DEVIATIONS = 2.0
# Waking up and handing over.
_MARGIN_S = 0.0003


class LeadTime:
    """Learns from how long frames took to prepare."""

    def __init__(self) -> None:
        self._mean_s = 0.0
        self._deviation_s = 0.0
        self._count = 0

    def add(self, took_s: float) -> None:
        """Take what one frame took, seconds."""
        if self._count == 0:
            self._mean_s, self._deviation_s = took_s, took_s / 2
        else:
            self._deviation_s += _DEVIATION_GAIN * (abs(took_s - self._mean_s) - self._deviation_s)
            self._mean_s += _MEAN_GAIN * (took_s - self._mean_s)
        self._count += 1

    @property
    def seconds(self) -> float:
        """The lead that is enough nearly always."""
        return self._mean_s + _DEVIATIONS * self._deviation_s + _MARGIN_S
