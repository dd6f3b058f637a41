"""Tables of what the generators tell about their patients, from results/privacy.json."""

from collections.abc import Mapping
from typing import Any

from sitesynth.reports.numbers import (
    ABSENT,
    show_count,
    show_interval,
    show_p,
    show_percent,
    show_score,
)
from sitesynth.reports.tables import Table, column, head, number, text


__all__ = ["copy_table", "gate_table", "membership_table"]

Json = Mapping[str, Any]


def gate_table(privacy: Json) -> Table:
    """Return each generator's verdict, its reasons, and what the audit could have seen."""
    rows = []
    for site, found in privacy["sites"].items():
        gate, patients = found["gate"], found["patients"]
        seen = gate["detectable"]
        rows.append(
            [
                head(site, note=f"{patients['train']} training, {patients['held_out']} held out"),
                text(gate["verdict"]),
                number(f"{show_percent(seen['copy_rate'])} %"),
                number(show_score(seen["membership_auc"])),
                number(ABSENT if found["epsilon"] is None else show_score(found["epsilon"])),
                text(" ".join([*gate["reasons"], *gate["notes"]]) or ABSENT),
            ]
        )
    return Table(
        "The release gate",
        [
            [
                head("Generator of"),
                head("Verdict"),
                column("Copies seen from"),
                column("AUC seen from"),
                column("Epsilon"),
                head("Reasons and notes"),
            ]
        ],
        rows,
        "Seen from: the least share of copies, and the attack's AUC, that so few held-out patients "
        "would have shown. A pass is no proof of privacy: it says that nothing was seen at that "
        "size. A generator without differential privacy has no epsilon.",
    )


def copy_table(privacy: Json) -> Table:
    """Return the share of synthetic scans that are copies, and what innocents would show."""
    rows = []
    for site, found in privacy["sites"].items():
        for line, (view, told) in enumerate(found["copies"].items()):
            rows.append(
                [
                    *([head(site, rows=len(found["copies"]))] if line == 0 else []),
                    head(view, note=f"above {show_score(told['threshold'])}"),
                    number(show_count(told["num_synthetic"])),
                    number(show_percent(told["rate"])),
                    number(show_percent(told["null"]["expected_rate"])),
                    number(show_percent(told["null"]["allowed_rate"])),
                    number(show_p(told["p_value"])),
                ]
            )
    names = ("Synthetic scans", "Copies, %", "Expected, %", "Allowed, %", "p")
    return Table(
        "Copies of training scans",
        [[head("Generator of"), head("View"), *(column(name) for name in names)]],
        rows,
        "A copy is more like a training scan than any two patients are like each other, and than "
        "any synthetic scan is like a held-out patient. Expected and allowed: of an innocent "
        "generator, with sets of the same sizes.",
    )


def membership_table(privacy: Json) -> Table:
    """Return how well attacks tell members from held-out patients, with their controls."""
    rows = []
    for site, found in privacy["sites"].items():
        attacks = {**found["membership"]["attacks"], "blind": found["membership"]["blind"]}
        for line, (attack, told) in enumerate(attacks.items()):
            control = told["member_vs_member"]
            rows.append(
                [
                    *([head(site, rows=len(attacks))] if line == 0 else []),
                    head(attack),
                    number(
                        show_score(told["auc"]["value"]),
                        note=show_interval(told["auc"], is_signed=False),
                    ),
                    number(show_interval(control, is_signed=False)),
                ]
            )
    return Table(
        "Membership inference",
        [
            [
                head("Generator of"),
                head("Attack"),
                column("AUC"),
                column("Members against members"),
            ]
        ],
        rows,
        "0.5 is guessing. The control plays the attack on members alone, split at random; the "
        "blind attack never met the generator, and shows whether the split itself can be told.",
    )
