"""Tables of what left the sites: bytes, seconds and registered models."""

from collections.abc import Mapping
from typing import Any

from sitesynth.reports.numbers import (
    ABSENT,
    show_bytes,
    show_count,
    show_score,
    show_seconds,
)
from sitesynth.reports.tables import Table, column, head, number, text


__all__ = ["exchange_table", "registry_table", "scale_table"]

Json = Mapping[str, Any]


def exchange_table(exchange: Json) -> Table:
    """Return what either exchange sent, and how long it took."""
    ran = exchange["as_run"]
    rows = [
        ("Rounds", "rounds", show_count),
        ("Messages", "messages", show_count),
        ("Bytes sent", "bytes", show_bytes),
        ("Wall-clock time", "wall_seconds", show_seconds),
        ("Processor time", "processor_seconds", show_seconds),
        ("Accelerator time", "accelerator_seconds", show_seconds),
    ]
    return Table(
        "Federated rounds against one bundle per hospital",
        [[head(""), column("federated"), column("one-shot")]],
        [
            *(
                [head(name), *(number(show(exchange[w][key])) for w in ("federated", "one_shot"))]
                for name, key, show in rows
            ),
            [
                head("Bytes, as this study ran"),
                *(number(show_bytes(ran[f"{way}_bytes"])) for way in ("federated", "one_shot")),
            ],
        ],
        f"{exchange['statement']} Above, for one classifier and the bundles alone. As it ran: "
        f"{ran['members']} federated trainings, whose mean predicts; and with the bundles, "
        f"{ran['validations']} models sent to every hospital to tune the mix, "
        f"{show_bytes(ran['tuning_bytes'])}. {_hidden(exchange['federated']['privacy'])}",
    )


def _hidden(privacy: Json) -> str:
    """Say what hid a hospital's update in federated rounds."""
    if privacy["encryption"] == "none":
        sealed = "Federated updates are not encrypted toward the hub"
    else:
        sealed = f"Federated updates are encrypted toward the hub ({privacy['encryption']})"
    if privacy["clip_norm"] is None:
        return f"{sealed}, and not clipped."
    return (
        f"{sealed}, clipped to a length of {privacy['clip_norm']:g}, with noise of "
        f"{privacy['noise_multiplier']:g} times that; no epsilon is claimed."
    )


def scale_table(scale: Json) -> Table:
    """Return what the exchanges would send at another scale."""
    return Table(
        "The same, at the scale of the CATphishing study",
        [
            [
                column(n)
                for n in ("Hospitals", "Rounds", "Federated", "One-shot", "Break-even rounds")
            ]
        ],
        [
            [
                number(show_count(scale["num_sites"])),
                number(show_count(scale["rounds"])),
                number(show_bytes(scale["federated_bytes"])),
                number(show_bytes(scale["one_shot_bytes"])),
                number(f"{scale['break_even_rounds']:.1f}"),
            ]
        ],
        f"Computed, not measured: {scale['source']}.",
    )


def registry_table(registry: Json) -> Table:
    """Return which version each model became, and what its gates said."""
    rows = []
    for entry in registry["models"]:
        refused = [gate for gate in entry["gates"] if not gate["passed"]]
        passed = len(entry["gates"]) - len(refused)
        reasons = "; ".join(f"{gate['rule']}: {_value_of(gate)}" for gate in refused)
        rows.append(
            [
                head(entry["model"], note=f"version {entry['version']}"),
                text(entry.get("strategy") or entry.get("site") or ABSENT),
                text(entry["alias"] or ABSENT),
                text(f"{passed} of {len(entry['gates'])} passed", note=reasons),
            ]
        )
    return Table(
        "Registered models, and the gates before them",
        [[head(name) for name in ("Model", "From", "Alias", "Gates")]],
        rows,
        "Challenger: the best candidate. Champion: the best whose gates all pass. Below the count "
        "stands what was refused, and the value that refused it.",
    )


def _value_of(gate: Json) -> str:
    value = gate["value"]
    if isinstance(value, list):
        return " to ".join(show_score(end) for end in value)
    return show_score(value) if isinstance(value, float) else str(value)
