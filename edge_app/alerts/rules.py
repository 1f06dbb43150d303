"""Each rule on each camera: when it is told, when it is well again, when nobody is to be told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Optional, Union

from edge_app.alerts.conditions import Quiet, Sustained
from edge_app.alerts.config import AlertsConfig, FaultRule, OccupancyRule, ViolationRule
from edge_app.config import MetricsConfig
from edge_app.occupancy import Region
from edge_app.records import FrameResult
from edge_app.sinks import StatusNotice

# A pair that was not too close for so long begins anew.
_PAIR_GAP_S = 2.0
AnyRule = Union[ViolationRule, OccupancyRule, FaultRule]


@dataclass(frozen=True)
class Alert:
    """Somebody is to be told.

    Attributes:
        number: of the alert; its recovery has the same.
        rule, kind: name and kind of the rule.
        camera: its name; empty for the device as a whole.
        state: ``firing``, or ``recovered`` once it is over.
        sentence: for a person.
        utc_s: seconds since 1970, UTC.
    """

    number: int
    rule: str
    kind: str
    camera: str
    state: Literal["firing", "recovered"]
    sentence: str
    utc_s: float


class CameraRule:
    """One rule on one camera. Whether it holds is on frame time (faults: monotonic); cool-down is on monotonic time.

    An alert that cool-down or quiet hours keep back is told after them if its reason still holds; the recovery of one
    that was told is kept back likewise, and never lost.
    """

    def __init__(self, rule: AnyRule, camera: str) -> None:
        self.rule = rule
        self.camera = camera
        self.condition = Sustained(0.0 if isinstance(rule, ViolationRule) else rule.sustained_s, rule.clear_s)
        self._told_number: Optional[int] = None
        self._last_told_s: Optional[float] = None

    def decide(self, now_s: float, utc_s: float, quiet: bool, number: int, sentence: str) -> Optional[Alert]:
        """Return what is to be told now, if anything.

        Args:
            now_s: monotonic.
            utc_s: the clock.
            quiet: these are quiet hours.
            number: for a new alert.
            sentence: what is wrong.
        """
        if quiet and not self.rule.ignore_quiet_hours:
            return None
        if self.condition.holds and self._told_number is None:
            if self._last_told_s is not None and now_s - self._last_told_s < self.rule.cooldown_s:
                return None
            self._told_number, self._last_told_s = number, now_s
            return self._alert(number, "firing", sentence, utc_s)
        if not self.condition.holds and self._told_number is not None:
            number, self._told_number = self._told_number, None
            return self._alert(number, "recovered", "over: " + self._name(), utc_s)
        return None

    def _alert(self, number: int, state: Literal["firing", "recovered"], sentence: str, utc_s: float) -> Alert:
        return Alert(number, self.rule.name, self.rule.kind, self.camera, state, sentence, utc_s)

    def _name(self) -> str:
        where = f" at {self.camera}" if self.camera else ""
        return f"alert '{self.rule.name}'{where}"


class RuleBook:
    """All rules of a configuration over all cameras. Not safe for several threads at once."""

    def __init__(self, config: AlertsConfig, metrics: Mapping[str, MetricsConfig]) -> None:
        self._rules = config.rules
        self._quiet = Quiet(config.quiet_hours)
        self._metrics = dict(metrics)
        self._regions: dict[str, Region] = {}
        self._states: dict[tuple[str, str], CameraRule] = {}
        self._pairs: dict[tuple[str, str], dict[tuple[int, int], tuple[float, float]]] = {}
        self._faults: dict[tuple[str, str], dict[str, str]] = {}
        self._number = 0

    def use_places(self, camera: str, metrics: MetricsConfig) -> None:
        """Judge occupancy in another region from the next frame on; what was told stays told until it is over."""
        self._metrics[camera] = metrics
        self._regions.pop(camera, None)

    def region(self, camera: str) -> Region:
        """Return the region in which occupancy is judged."""
        if camera not in self._regions:
            self._regions[camera] = Region(self._metrics.get(camera, MetricsConfig()))
        return self._regions[camera]

    def see(self, camera: str, now_s: float, utc_s: float, result: FrameResult) -> Iterator[Alert]:
        """Take a frame's result and yield what is to be told."""
        for rule in self._rules_for(camera):
            if isinstance(rule, ViolationRule):
                longest_s = self._longest_pair_s(rule, camera, result)
                sentence = f"two people have been too close for {longest_s:.0f} s at {camera}"
                yield from self._judge(
                    rule, camera, result.time_s, now_s, utc_s, longest_s >= rule.sustained_s, sentence
                )
            elif isinstance(rule, OccupancyRule):
                count = self.region(camera).count(result)
                sentence = f"{count} people at {camera}, more than {rule.above}"
                yield from self._judge(rule, camera, result.time_s, now_s, utc_s, count > rule.above, sentence)

    def hear(self, notice: StatusNotice, now_s: float, utc_s: float) -> Iterator[Alert]:
        """Take a notice and yield what is to be told."""
        for rule in self._rules_for(notice.camera):
            if isinstance(rule, FaultRule) and notice.kind in rule.about:
                faults = self._faults.setdefault((rule.name, notice.camera), {})
                faults.pop(notice.kind, None)
                if not notice.ok:
                    faults[notice.kind] = notice.sentence
        yield from self.tick(now_s, utc_s)

    def tick(self, now_s: float, utc_s: float) -> Iterator[Alert]:
        """Yield what time alone makes due: lasting faults, and what cool-down or quiet hours kept back."""
        for (name, camera), faults in list(self._faults.items()):
            rule = next(rule for rule in self._rules if rule.name == name)
            yield from self._judge(rule, camera, now_s, now_s, utc_s, bool(faults), "; ".join(faults.values()))

    def _rules_for(self, camera: str) -> Iterator[AnyRule]:
        return (rule for rule in self._rules if rule.cameras is None or camera in rule.cameras or not camera)

    def _judge(
        self, rule: AnyRule, camera: str, time_s: float, now_s: float, utc_s: float, reason: bool, sentence: str
    ) -> Iterator[Alert]:
        state = self._states.setdefault((rule.name, camera), CameraRule(rule, camera))
        state.condition.update(time_s, reason)
        alert = state.decide(now_s, utc_s, self._quiet.at(utc_s), self._number + 1, sentence)
        if alert is not None:
            self._number = max(self._number, alert.number)
            yield alert

    def _longest_pair_s(self, rule: ViolationRule, camera: str, result: FrameResult) -> float:
        """Return for how long the pair that has been too close longest has been so; 0 if nobody is now."""
        pairs = self._pairs.setdefault((rule.name, camera), {})
        together = _together(result)
        now = [(int(a), int(b)) for a, b in result.violating_pairs]
        for pair in now:
            if rule.groups or pair not in together:
                since_s = pairs.get(pair, (result.time_s, 0.0))[0]
                pairs[pair] = (since_s, result.time_s)
        for pair in [pair for pair, (_, last_s) in pairs.items() if result.time_s - last_s > _PAIR_GAP_S]:
            del pairs[pair]
        return max((last_s - since_s for since_s, last_s in pairs.values() if last_s == result.time_s), default=-1.0)


def _together(result: FrameResult) -> set[tuple[int, int]]:
    pairs = result.pairs
    if pairs.same_group is None:
        return set()
    return {(int(a), int(b)) for a, b, same in zip(pairs.id_a, pairs.id_b, pairs.same_group) if same}
