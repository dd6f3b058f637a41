"""What was sent, from notes written by hand."""

from typing import Any

from sitesynth.settings import load_settings
from sitesynth.strategies.plan import Plan
from sitesynth.strategies.traffic import summarize_traffic
from tests.unit.strategies.tiny_consortium import ROOT


def plan() -> Plan:
    """Return a plan of one site, one member and two rounds."""
    study = load_settings(ROOT / "params.yaml")
    return Plan(
        sites=("alder",),
        label="idh",
        classes=("wildtype", "mutant"),
        positive="mutant",
        sequences=("t1",),
        dims=2,
        trained=("w",),
        classifier=study.classifier.model_copy(update={"num_seeds": 1}),
        federated=study.federated.model_copy(update={"engine": "nvflare", "num_rounds": 2}),
        seed=1,
    )


def message(kind: str, number: int, *, received: int, sent: int) -> dict[str, Any]:
    """Return the hub's note of an answer, with the site's counts when it was asked."""
    return {
        "event": "message",
        "site": "alder",
        "question": {"kind": kind, "member": 0, "number": number},
        "received_before": received,
        "sent_before": sent,
        "seconds": 2.0,
        "cpu_seconds": 1.5,
        "protection_seconds": 0.25,
    }


def test_counts_become_bytes_of_rounds() -> None:
    """Received by 10, 25, 37: 10, 15 and 12. Sent by 1, 31, 65: 30, 34, and the last unknown."""
    found = summarize_traffic(
        plan(),
        [
            message("train", 1, received=10, sent=1),
            message("train", 2, received=25, sent=31),
            message("score", 2, received=37, sent=65),
            {"event": "absence", "question": {"kind": "score"}, "reasons": {"birch": "asleep"}},
        ],
    )

    assert found["sites"]["alder"] == {
        "received_bytes": 37,
        "sent_bytes": 64,
        "received_bytes_by_round": [10, 15],
        "sent_bytes_by_round": [30, 34],
        "answers": 3,
        "compute_seconds": 6.0,
        "cpu_seconds": 4.5,
        "protection_seconds": 0.75,
    }
    assert (found["bytes"], found["messages"], found["engine"]) == (101, 6, "nvflare")
    assert found["absences"] == [{"question": {"kind": "score"}, "reasons": {"birch": "asleep"}}]
