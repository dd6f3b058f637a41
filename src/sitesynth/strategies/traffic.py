"""What a federated training sent, summed up from the hub's notes."""

from collections.abc import Mapping, Sequence
from typing import Any

from sitesynth.strategies.plan import Plan


__all__ = ["summarize_traffic"]


def summarize_traffic(plan: Plan, events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Sum up messages, bytes and seconds, by site and round.

    A site counts bytes since its process began, and says with each answer what the count was when
    it was asked: what it has received by then includes the question, what it sends for the answer
    shows in the next one. So a site's last answer, a score of some hundred bytes, is not in the
    sums; looks for a task and signs of life are. A resumed training tells what was sent since.

    Args:
        plan: What was trained, by whom.
        events: What the hub wrote down; see `nvflare_engine`.
    """
    messages = [event for event in events if event["event"] == "message"]
    rounds = []
    by_site: dict[str, dict[str, Any]] = {}
    for site in plan.sites:
        mine = [message for message in messages if message["site"] == site]
        received = 0
        for message, after in zip(mine, [*mine[1:], None], strict=True):
            row = {
                "site": site,
                **message["question"],
                "received_bytes": message["received_before"] - received,
                "sent_bytes": after["sent_before"] - message["sent_before"] if after else 0,
                "seconds": message["seconds"],
            }
            received = message["received_before"]
            rounds.append(row)
        rows = [row for row in rounds if row["site"] == site]
        by_site[site] = {
            "received_bytes": sum(row["received_bytes"] for row in rows),
            "sent_bytes": sum(row["sent_bytes"] for row in rows),
            "received_bytes_by_round": by_round(rows, "received_bytes", plan),
            "sent_bytes_by_round": by_round(rows, "sent_bytes", plan),
            "answers": len(rows),
            "compute_seconds": sum(message["seconds"] for message in mine),
            "cpu_seconds": sum(message["cpu_seconds"] for message in mine),
            "protection_seconds": sum(message["protection_seconds"] for message in mine),
        }
    absences = [
        {"question": event["question"], "reasons": event["reasons"]}
        for event in events
        if event["event"] == "absence"
    ]
    return {
        "engine": plan.federated.engine,
        "algorithm": plan.federated.algorithm,
        "members": plan.classifier.num_seeds,
        "messages": sum(2 * told["answers"] for told in by_site.values()),
        "bytes": sum(told["received_bytes"] + told["sent_bytes"] for told in by_site.values()),
        "sites": by_site,
        "rounds": rounds,
        "absences": absences,
        "resumed": next((dict(event) for event in events if event["event"] == "resumed"), None),
    }


def by_round(rows: Sequence[Mapping[str, Any]], key: str, plan: Plan) -> list[int]:
    """Sum up a site's bytes by the number of the round, all members together."""
    sums = [0] * plan.federated.num_rounds
    for row in rows:
        if row["kind"] == "train":
            sums[row["number"] - 1] += row[key]
    return sums
