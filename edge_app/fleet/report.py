"""How well messages come: rate, delay and silence of each device."""

from __future__ import annotations

from typing import Any

from edge_app.fleet.database import FleetDatabase

_SQL = """
WITH taken AS (
    SELECT device, received_utc, received_utc - end_utc AS delay FROM event
    WHERE received_utc > now() - %s * interval '1 s'
    UNION ALL
    SELECT device, received_utc, NULL FROM minute WHERE received_utc > now() - %s * interval '1 s'
    UNION ALL
    SELECT device, received_utc, received_utc - utc FROM notice WHERE received_utc > now() - %s * interval '1 s'
    UNION ALL
    SELECT device, received_utc, received_utc - utc FROM alert WHERE received_utc > now() - %s * interval '1 s'
)
SELECT device.name, device.online, extract(epoch FROM now() - device.last_message_utc), count(taken.device),
    percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM taken.delay)),
    percentile_cont(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM taken.delay))
FROM device LEFT JOIN taken ON taken.device = device.name
GROUP BY device.name, device.online, device.last_message_utc ORDER BY device.name
"""


def fleet_report(database: FleetDatabase, seconds: float) -> list[dict[str, Any]]:
    """Return a row for each device on the last ``seconds``.

    The delay is from the end of an event, or the time of a notice or alert, until it was stored here: by two clocks,
    so a device whose clock is wrong shows a wrong delay.
    """
    return [
        {
            "device": name,
            "online": online,
            "silent_s": None if silent_s is None else round(float(silent_s), 1),
            "messages": messages,
            "messages_per_min": round(messages * 60 / seconds, 2),
            "delay_median_s": None if median_s is None else round(float(median_s), 2),
            "delay_p95_s": None if p95_s is None else round(float(p95_s), 2),
        }
        for name, online, silent_s, messages, median_s, p95_s in database.query(_SQL, [seconds] * 4)
    ]


def format_report(rows: list[dict[str, Any]], seconds: float) -> str:
    """Write the rows as a table for a person."""
    online = sum(row["online"] for row in rows)
    total = sum(row["messages"] for row in rows)
    lines = [f"{len(rows)} devices, {online} online; {total} messages in {seconds:g} s, {total / seconds:.1f} a second"]
    lines.append(f"{'device':<32} {'online':<7} {'silent s':>9} {'messages':>9} {'delay s':>9} {'p95 s':>9}")
    for row in rows:
        lines.append(
            f"{row['device']:<32} {'yes' if row['online'] else 'no':<7} {_shown(row['silent_s']):>9} "
            f"{row['messages']:>9} {_shown(row['delay_median_s']):>9} {_shown(row['delay_p95_s']):>9}"
        )
    return "\n".join(lines)


def _shown(value: Any) -> str:
    return "-" if value is None else f"{value:g}"
