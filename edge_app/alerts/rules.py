"""Each rule on each camera: when it is told, when it is well again, when nobody is to be told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Optional, Union

from edge_app.alerts.conditions import Quiet, Sustained
from edge_app.alerts.config import AlertsConfig, FaultRule, OccupancyRule, ViolationRule
from edge_app.config import MetricsConfig
from edge_app.counted import counted
from edge_app.current import BLIND, FRESH_S
from edge_app.occupancy import Region
from edge_app.records import FrameResult
from edge_app.sinks import StatusNotice

# After a stop no longer than this, an alert that was told goes on; after a longer one it is over and may begin anew. So
# it is if nobody knows for as long whether its reason lasts.
_OUTAGE_S = 900.0
# Cameras are reached and people found again within this time after the first sign of life, as a rule.
SETTLE_S = 30.0
AnyRule = Union[ViolationRule, OccupancyRule, FaultRule]


@dataclass(frozen=True)
class Alert:
    """Somebody is to be told.

    Attributes:
        alert: its id; its recovery has the same.
        rule, kind: name and kind of the rule.
        camera: its name; empty for the device as a whole.
        state: ``firing``, or ``recovered`` once it is over.
        sentence: for a person.
        utc_s: seconds since 1970, UTC.
        untold: only stored; nobody is told.
    """

    alert: str
    rule: str
    kind: str
    camera: str
    state: Literal["firing", "recovered"]
    sentence: str
    utc_s: float
    untold: bool = False


@dataclass(frozen=True)
class LeftOpen:
    """What earlier runs left.

    Attributes:
        alerts: told and not ended, oldest first.
        last_told_utc_s: when an alert of a rule at a camera was last told, ended or not, by (rule, camera).
        away_s: seconds since something was last watched.
    """

    alerts: tuple[Alert, ...] = ()
    last_told_utc_s: Mapping[tuple[str, str], float] = field(default_factory=dict)
    away_s: float = 0.0


class CameraRule:
    """One rule on one camera. Whether it holds is on frame time (faults: monotonic); cool-down is on monotonic time.

    An alert that cool-down or quiet hours keep back is told after them if its reason still holds; the recovery of one
    that was told is kept back likewise, and never lost.

    Attributes:
        rule, camera: which.
        known_s: monotonic time at which it was last known whether its reason shows; None if never.
    """

    def __init__(self, rule: AnyRule, camera: str) -> None:
        self.rule = rule
        self.camera = camera
        self.known_s: Optional[float] = None
        if isinstance(rule, FaultRule):
            self.condition = Sustained(rule.sustained_s, rule.clear_s)
        else:
            # That a violation is long enough shows only so long after it was lost from sight: its event begins anew.
            sustained_s = 0.0 if isinstance(rule, ViolationRule) else rule.sustained_s
            self.condition = Sustained(sustained_s, rule.clear_s, again_s=rule.sustained_s, fresh_s=FRESH_S)
        self._told: Optional[str] = None
        self._last_told_s: Optional[float] = None

    def cool_down_from(self, told_s: float) -> None:
        """Count cool-down from an alert that an earlier run told at ``told_s``, monotonic."""
        self._last_told_s = told_s

    def take_over(self, alert: Alert, settle_s: float) -> None:
        """Hold an alert that an earlier run told until its reason has not shown for a while."""
        self._told = alert.alert
        self.condition.take_over(self.rule.sustained_s + max(self.rule.clear_s, settle_s))

    @property
    def fires(self) -> bool:
        """Whether an alert was told and its end was not."""
        return self._told is not None

    def decide(self, now_s: float, utc_s: float, quiet: bool, new: str, sentence: str) -> Optional[Alert]:
        """Return what is to be told now, if anything.

        Args:
            now_s: monotonic.
            utc_s: the clock.
            quiet: these are quiet hours.
            new: id for a new alert.
            sentence: what is wrong.
        """
        if quiet and not self.rule.ignore_quiet_hours:
            return None
        if self.condition.holds and self._told is None:
            if self._last_told_s is not None and now_s - self._last_told_s < self.rule.cooldown_s:
                return None
            self._told, self._last_told_s = new, now_s
            return Alert(new, self.rule.name, self.rule.kind, self.camera, "firing", sentence, utc_s)
        if not self.condition.holds and self._told is not None:
            told, self._told = self._told, None
            sentence = f"over: {_named(self.rule.name, self.camera)}"
            return Alert(told, self.rule.name, self.rule.kind, self.camera, "recovered", sentence, utc_s)
        return None


class RuleBook:
    """All rules of a configuration over all cameras. Not safe for several threads at once."""

    def __init__(
        self, config: AlertsConfig, metrics: Mapping[str, MetricsConfig], run: str, settle_s: float = SETTLE_S
    ) -> None:
        """Prepare.

        Args:
            config: the rules.
            metrics: region of each camera, by its name.
            run: name of this run, first part of the id of every new alert.
            settle_s: for so long after the first frame or notice a reason that was there before a restart may take to
                show again.
        """
        self._rules = config.rules
        self._run = run
        self._settle_s = settle_s
        self._quiet = Quiet(config.quiet_hours)
        self._metrics = dict(metrics)
        self._regions: dict[str, Region] = {}
        self._states: dict[tuple[str, str], CameraRule] = {}
        self._faults: dict[tuple[str, str], dict[str, str]] = {}
        self._seen_s: dict[str, float] = {}
        self._over: list[Alert] = []
        self._is_awake = False
        self._number = 0

    def take_over(self, left: LeftOpen, now_s: float, utc_s: float) -> None:
        """Go on with alerts that an earlier run told and did not end. Call it before anything else.

        They go on where rule and camera are still there and the program was not away for long; they are over once
        their reason has not shown for a while. The end of all others is told at the next ``tick`` outside quiet hours;
        of several of one rule at one camera that of the newest, for the others were followed by it.

        Args:
            left: what earlier runs left.
            now_s: monotonic.
            utc_s: the clock.
        """
        for (name, camera), told_utc_s in left.last_told_utc_s.items():
            known = self._rule(name, camera)
            if known is not None:
                self._state(known, camera).cool_down_from(now_s - max(0.0, utc_s - told_utc_s))
        newest = {(alert.rule, alert.camera): alert for alert in left.alerts}
        for alert in left.alerts:
            key = (alert.rule, alert.camera)
            rule = self._rule(*key)
            is_newest = newest[key] is alert
            if rule is None or rule.kind != alert.kind or left.away_s > _OUTAGE_S or not is_newest:
                self._over.append(replace(alert, untold=not is_newest))
                continue
            state = self._state(rule, alert.camera)
            state.take_over(alert, self._settle_s)
            state.known_s = now_s
            self._seen_s.setdefault(alert.camera, now_s)
            if isinstance(rule, FaultRule):
                self._faults[key] = {}

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
        self._is_awake, self._seen_s[camera] = True, now_s
        for rule in self._rules_for(camera):
            if isinstance(rule, ViolationRule):
                longest_s = _longest_s(rule, result)
                sentence = f"two people have been too close for {longest_s:.0f} s at {camera}"
                is_long = longest_s >= rule.sustained_s if result.in_metres else None
                yield from self._judge(rule, camera, result.time_s, now_s, utc_s, is_long, sentence)
            elif isinstance(rule, OccupancyRule):
                count = self.region(camera).count(result)
                sentence = f"{counted(count or 0, 'person', 'people')} at {camera}, more than {rule.above}"
                is_full = None if count is None else count > rule.above
                yield from self._judge(rule, camera, result.time_s, now_s, utc_s, is_full, sentence)

    def hear(self, notice: StatusNotice, now_s: float, utc_s: float) -> Iterator[Alert]:
        """Take a notice and yield what is to be told."""
        self._is_awake = True
        for rule in self._rules_for(notice.camera):
            if isinstance(rule, FaultRule) and notice.kind in rule.about:
                faults = self._faults.setdefault((rule.name, notice.camera), {})
                faults.pop(notice.kind, None)
                if not notice.ok:
                    faults[notice.kind] = notice.sentence
        if notice.kind in BLIND and not notice.ok:
            for state in self._states_of(notice.camera):
                state.condition.lose_sight()
        yield from self.tick(now_s, utc_s)

    def tick(self, now_s: float, utc_s: float) -> Iterator[Alert]:
        """Yield what time alone makes due: lasting faults, and what cool-down or quiet hours kept back."""
        if self._over:
            yield from self._tell_over(utc_s)
        if not self._is_awake:
            # Models still load: that nothing is broken yet says nothing.
            return
        for (name, camera), faults in list(self._faults.items()):
            rule = next(rule for rule in self._rules if rule.name == name)
            yield from self._judge(rule, camera, now_s, now_s, utc_s, bool(faults), "; ".join(faults.values()))
        for state in self._states.values():
            unknown_s = 0.0 if state.known_s is None else now_s - state.known_s
            if state.fires and not isinstance(state.rule, FaultRule) and unknown_s > _OUTAGE_S:
                state.condition.give_up()
                alert = state.decide(now_s, utc_s, self._quiet.at(utc_s), "", "")
                if alert is not None:
                    blind_s = now_s - self._seen_s.get(state.camera, now_s)
                    what = "no picture came" if blind_s > _OUTAGE_S else "nothing was known in metres"
                    yield replace(alert, sentence=f"{alert.sentence}, where {what} for {unknown_s / 60:.0f} min")

    def _tell_over(self, utc_s: float) -> Iterator[Alert]:
        """Yield the end of what an earlier run told."""
        is_quiet = self._quiet.at(utc_s)
        over, self._over = self._over, []
        for alert in over:
            rule = self._rule(alert.rule, alert.camera)
            if is_quiet and not alert.untold and (rule is None or not rule.ignore_quiet_hours):
                self._over.append(alert)
                continue
            sentence = f"over: {_named(alert.rule, alert.camera)}, told before the program was started anew"
            yield replace(alert, state="recovered", sentence=sentence, utc_s=utc_s)

    def _rule(self, name: str, camera: str) -> Optional[AnyRule]:
        """Return the rule of that name if it is there for a camera that is there."""
        if camera and camera not in self._metrics:
            return None
        return next((rule for rule in self._rules_for(camera) if rule.name == name), None)

    def _state(self, rule: AnyRule, camera: str) -> CameraRule:
        return self._states.setdefault((rule.name, camera), CameraRule(rule, camera))

    def _states_of(self, camera: str) -> Iterator[CameraRule]:
        """Return what is judged by the pictures of a camera."""
        states = self._states.values()
        return (state for state in states if state.camera == camera and not isinstance(state.rule, FaultRule))

    def _rules_for(self, camera: str) -> Iterator[AnyRule]:
        return (rule for rule in self._rules if rule.cameras is None or camera in rule.cameras or not camera)

    def _judge(
        self, rule: AnyRule, camera: str, time_s: float, now_s: float, utc_s: float, reason: Optional[bool],
        sentence: str,
    ) -> Iterator[Alert]:  # fmt: skip
        state = self._state(rule, camera)
        if reason is not None:
            state.known_s = now_s
        state.condition.update(time_s, reason)
        if state.condition.holds and not state.fires and not reason:
            # It was held back; it is told once its reason shows, not while that is missed or unknown.
            return
        new = f"{self._run}-a{self._number + 1}"
        alert = state.decide(now_s, utc_s, self._quiet.at(utc_s), new, sentence)
        if alert is not None:
            self._number += alert.alert == new and alert.state == "firing"
            yield alert


def _longest_s(rule: ViolationRule, result: FrameResult) -> float:
    """Return for how long the longest violation of now has lasted, as its event will say; -1 where there is none."""
    together = set() if rule.groups else _together(result)
    pairs = zip(result.violating_pairs.tolist(), result.violating_since_s.tolist())
    return max((result.time_s - since_s for (a, b), since_s in pairs if (a, b) not in together), default=-1.0)


def _named(rule: str, camera: str) -> str:
    where = f" at {camera}" if camera else ""
    return f"alert '{rule}'{where}"


def _together(result: FrameResult) -> set[tuple[int, int]]:
    pairs = result.pairs
    if pairs.same_group is None:
        return set()
    return {(int(a), int(b)) for a, b, same in zip(pairs.id_a, pairs.id_b, pairs.same_group) if same}
