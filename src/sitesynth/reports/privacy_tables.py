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
from sitesynth.reports.tables import Cell, Table, column, head, number, text


__all__ = [
    "class_table",
    "copied_patients_table",
    "copy_table",
    "gate_table",
    "membership_table",
]

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
                _epsilon(found),
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
        "size. Epsilon bounds what a bundle can tell of one patient (differential privacy); a "
        "bundle has none while any part of it, such as the autoencoder, was trained without. Below "
        "it: that of the flow alone.",
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


def copied_patients_table(privacy: Json) -> Table:
    """Return the copy test in the other direction: from patients to synthetic scans."""
    rows = []
    for site, found in privacy["sites"].items():
        for line, (view, told) in enumerate(found["copies"].items()):
            seen = told["training_patients"]
            rows.append(
                [
                    *([head(site, rows=len(found["copies"]))] if line == 0 else []),
                    head(view),
                    number(show_count(seen["num_patients"])),
                    number(show_count(seen["num_copied"])),
                    number(f"{seen['expected_rate'] * seen['num_patients']:.1f}"),
                    number(show_p(seen["p_value"])),
                ]
            )
    names = ("Training patients", "Copied", "Expected", "p")
    return Table(
        "The other direction: patients to whom a synthetic scan is near",
        [[head("Generator of"), head("View"), *(column(name) for name in names)]],
        rows,
        "Copied: a synthetic scan is nearer to the patient than any is to a held-out one. Expected "
        "is what chance gives. Beside the gate's test, and no part of it.",
    )


def class_table(privacy: Json) -> Table:
    """Return the copies of each class."""
    sites = privacy["sites"]
    classes = list(
        dict.fromkeys(
            name
            for found in sites.values()
            for told in found["copies"].values()
            for name in told["classes"]
        )
    )
    rows = []
    for site, found in sites.items():
        for line, (view, told) in enumerate(found["copies"].items()):
            rows.append(
                [
                    *([head(site, rows=len(found["copies"]))] if line == 0 else []),
                    head(view),
                    *(_copies_of(told["classes"].get(name)) for name in classes),
                ]
            )
    return Table(
        "Copies by class",
        [[head("Generator of"), head("View"), *(column(name) for name in classes)]],
        rows,
        "Copies among the synthetic scans asked for as that class, and the probability of as many "
        "by chance; not adjusted.",
    )


def _epsilon(found: Json) -> Cell:
    """Return the bundle's epsilon, and that of its flow if there is one."""
    told = found.get("differential_privacy")
    if told is None:
        return number(show_score(found["epsilon"]))
    if told["flow_epsilon"] is None:
        return number(show_score(found["epsilon"]), note="flow: none, its noise is no secret")
    return number(show_score(found["epsilon"]), note=f"flow {show_score(told['flow_epsilon'])}")


def _copies_of(told: Json | None) -> Cell:
    if told is None:
        return number(ABSENT)
    return number(
        f"{told['num_copies']} of {told['num_synthetic']}", note=f"p {show_p(told['p_value'])}"
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
                    *(
                        number(
                            f"{show_percent(rate['value'])} %" if rate["measurable"] else ABSENT,
                            note=_percents(rate),
                        )
                        for rate in told["true_positives"]
                    ),
                    number(
                        f"{told['above_all_others']['members']} of {found['patients']['train']}",
                        note=f"p {show_p(told['above_all_others']['p_value'])}",
                    ),
                ]
            )
    return Table(
        "Membership inference",
        [
            [
                head("Generator of"),
                head("Attack"),
                column("AUC"),
                column("Control"),
                column("TPR at 1 % FPR"),
                column("TPR at 0.1 % FPR"),
                column("Above all others"),
            ]
        ],
        rows,
        "0.5 is guessing. The control plays the attack on members alone, split at random; the "
        "blind attack never met the generator, and shows whether the split itself can be told. "
        "TPR: members found while so few others are falsely accused, with an interval that holds "
        "though the threshold is estimated; without a value where there are too few others to see "
        "one false accusation at that rate. Above all others: members whose score no held-out "
        "patient reaches, and the probability of as many by chance.",
    )


def _percents(rate: Json) -> str:
    return f"{show_percent(rate['low'])} to {show_percent(rate['high'])} %"
