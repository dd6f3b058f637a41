"""Tables of generators, from audits with known numbers."""

import re
from dataclasses import replace
from typing import Any

from sitesynth.reports.audit_sections import quality_section
from sitesynth.reports.page import Gallery
from sitesynth.reports.privacy_tables import copy_table, gate_table, membership_table
from sitesynth.reports.quality_tables import (
    appearance_table,
    artefact_table,
    fidelity_table,
    held_out_table,
    judge_table,
    matrix_table,
    network_table,
    reconstruction_table,
    tumour_table,
)
from sitesynth.reports.study import Results, Study
from sitesynth.reports.subgroup_sections import subgroups_section
from sitesynth.reports.tables import Table


def told(table: Table) -> str:
    """Return all that a table says."""
    cells = [cell for row in [*table.header, *table.rows] for cell in row]
    return " ".join(f"{cell.text} {cell.note}" for cell in cells)


def v(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 1, "high": value + 1}


def by_sequence(value: float, **compared: Any) -> dict[str, Any]:
    told = {**scores(value), **compared}
    return {**told, "sequences": {"t1": told, "t2": None}}


def scores(value: float) -> dict[str, Any]:
    return {**v(value), "n": 9, "quartiles": [value - 3, value, value + 3], "planes": {}}


QUALITY: dict[str, Any] = {
    "brisque_model": {"name": "LIVE release of 2011", "digest": "ab" * 32},
    "sites": {
        "alder": {
            "synthetic": {
                "brisque": {**scores(52), "difference": v(10.5), "distance": v(11.5)},
                "piqe": {**scores(33), "difference": v(2.5), "distance": v(4.5)},
                "noise_level": by_sequence(6, difference=v(1.25), distance=v(2.25)),
                "edge_sharpness": by_sequence(1.25, difference=v(1.5), distance=v(3.5)),
                "fine_power": by_sequence(-9, difference=v(-1.75), distance=v(2.75)),
            },
            "real": {
                "brisque": {**scores(42), "difference": v(0.5), "distance": v(1.5)},
                "piqe": None,
                "noise_level": by_sequence(5, difference=v(0.25), distance=v(1.75)),
                "edge_sharpness": None,
                "fine_power": by_sequence(-8, difference=v(-0.5), distance=v(1.5)),
            },
            "held_out": {
                "brisque": scores(41.5),
                "piqe": scores(30.5),
                "noise_level": by_sequence(4.75),
                "edge_sharpness": by_sequence(1.5),
                "fine_power": by_sequence(-7.25),
            },
        }
    },
}


RETURNED: dict[str, Any] = {
    "scans": {"held_out": 9, "train": 40},
    "ms_ssim": {"mean": v(0.95), "by_sequence": {"t1": v(0.97), "flair": None}},
    "error": {"held_out": v(0.05), "train": v(0.04)},
    "judge": None,
}
JUDGED = {
    "n": 49,
    "n_held_out": 9,
    "auc": {"original": 0.9, "reconstruction": 0.85, "difference": v(-0.05)},
}


def test_what_a_judge_sees_stands_before_and_after_the_autoencoder() -> None:
    """And beside it structure by sequence, a sequence that no held-out scan has among them."""
    sites = {"alder": RETURNED | {"judge": JUDGED}, "birch": RETURNED}
    table = reconstruction_table(
        {"sites": {name: {"reconstruction": found} for name, found in sites.items()}}
    )
    alder, birch = table.rows

    assert [cell.text for cell in alder] == [
        "alder", "0.950", "0.970", "–", "0.050", "0.040", "0.900", "0.850", "\u22120.050",
    ]  # fmt: skip
    assert alder[-1].note == "\u22121.050 to +0.950"
    assert alder[-3].note == "n = 49"
    assert [cell.text for cell in birch[-3:]] == ["–"] * 3
    assert birch[-3].note == "too few patients of a class"


def test_scores_stand_beside_those_of_real_scans_and_the_floor() -> None:
    """Mean with quartiles of both, then differences and distances of synthetic and of training."""
    table = appearance_table(QUALITY)
    brisque, piqe, noise, width, power = table.rows

    assert [cell.text for cell in brisque] == [
        "alder", "BRISQUE", "52", "41.5", "10.5", "0.500", "11.5", "1.5",
    ]  # fmt: skip
    assert brisque[2].note == "49 to 55"
    assert [cell.text for cell in piqe] == ["PIQE", "33", "30.5", "2.5", "–", "4.5", "–"]
    assert [cell.text for cell in noise[:3]] == ["Noise, grey levels", "6", "4.75"]
    assert [cell.text for cell in width] == [
        "Edge sharpness",
        "1.25",
        "1.5",
        "1.5",
        "–",
        "3.5",
        "–",
    ]
    assert power[1].text == "\u22129"
    assert "abababababab" in table.note


def test_artefacts_stand_by_sequence_beside_the_floor() -> None:
    """Of each score: synthetic, held-out, distance, floor; a sequence that nobody has is dashes."""
    t1, t2 = artefact_table(QUALITY).rows

    assert [cell.text for cell in t1] == [
        "alder", "t1", "6", "4.75", "2.25", "1.25", "1.5", "3.5", "\u22129", "\u22127.25", "2.75",
    ]  # fmt: skip
    assert [t1[place].note for place in (4, 7, 10)] == ["floor 1.75", "floor –", "floor 1.5"]
    assert [cell.text for cell in t2] == ["t2", *["–"] * 9]


def test_a_site_without_a_head_to_look_at_says_so() -> None:
    blank = {kind: dict.fromkeys(found, None) for kind, found in QUALITY["sites"]["alder"].items()}
    (row,) = artefact_table({"sites": {"alder": blank}}).rows

    assert row[1].text == "too little head to look at"


def test_every_row_is_as_wide_as_the_header(study: Study, results: Results) -> None:
    """Spans counted; a row too short would shift its numbers under a wrong heading."""
    quality, privacy = results.quality, results.privacy
    subgroups = subgroups_section(results).blocks[-1]
    assert isinstance(subgroups, Table)
    tables = [
        fidelity_table(quality),
        matrix_table(quality, "fid"),
        held_out_table(quality),
        appearance_table(QUALITY),
        artefact_table(QUALITY),
        judge_table(quality, classes=study.classes),
        reconstruction_table(quality),
        reconstruction_table({"sites": {"alder": {"reconstruction": RETURNED}}}),
        tumour_table("alder", quality["sites"]["alder"]["tumours"], shown=["t1c rim"]),
        gate_table(privacy),
        copy_table(privacy),
        membership_table(privacy),
        subgroups,
    ]
    for table in tables:
        width = sum(cell.columns for cell in table.header[0])
        spanned = [0] * (len(table.rows) + 99)
        for number, row in enumerate(table.rows):
            for cell in row:
                for later in range(number + 1, number + cell.rows):
                    spanned[later] += cell.columns
            assert sum(cell.columns for cell in row) + spanned[number] == width, table.title


def test_a_verdict_stands_with_its_reasons(results: Results) -> None:
    """Two held-out patients are too few where eight are asked for."""
    rows = {row[0].text: row for row in gate_table(results.privacy).rows}

    assert rows["birch"][1].text == "refused"
    assert "too few" in rows["birch"][-1].text
    assert results.privacy["sites"]["birch"]["gate"]["reasons"][0] in rows["birch"][-1].text


def test_a_site_without_a_judge_says_why() -> None:
    table = judge_table({"sites": {"alder": {"judge": None}}}, classes=("a", "b"))

    assert "too few training patients" in told(table)


def test_subgroups_of_the_strategy_in_question_are_on_the_page(results: Results) -> None:
    """Every judged group's difference, and groups that are too small without one."""
    section = subgroups_section(results)
    table = section.blocks[-1]
    assert isinstance(table, Table)
    found = results.comparison["subgroups"]["groups"]

    assert {group["covariate"] for group in found} == {"age", "sex", "sequences"}
    for group, row in zip(found, table.rows, strict=True):
        is_judged = bool(group["strategies"])
        assert (row[-1].text == "–") == (not is_judged)


def test_every_network_is_named_with_its_digest_beside_its_figures() -> None:
    """One heading over a network's rows; the file's whole digest below the table."""
    found = {
        kind: {
            "kid": v(value),
            "fid": v(2.5),
            **dict.fromkeys(NEIGHBOURHOODS, 0.5),
            "intervals": {
                name: {"value": 0.5, "low": 0.25, "high": 0.75} for name in NEIGHBOURHOODS
            },
        }
        for kind, value in (("synthetic", 7.5), ("real", 0.5))
    }
    extractor = {"network": "program", "weights_sha256": "cd" * 32, "digest": "ef" * 32}
    table = network_table({"dino": {"extractor": extractor, "sites": {"alder": found}}})

    assert [cell.text for cell in table.rows[0][:4]] == ["dino", "alder", "synthetic", "7.5"]
    assert [cell.text for cell in table.rows[1][:2]] == ["real (floor)", "0.500"]
    assert [(cell.text, cell.note) for cell in table.rows[1][-4:]] == [
        ("0.500", "0.250 to 0.750")
    ] * 4
    assert table.rows[0][0].note == "program, efefefefefef"
    assert "dino: " + "cd" * 32 in table.note


NEIGHBOURHOODS = ("precision", "recall", "density", "coverage")


def test_generators_and_real_scans_stand_below_each_other_with_their_n() -> None:
    """Alder's interval, 1 to 3, lies below 4 to 6; birch's, 5 to 7, does not lie below 6 to 8."""
    kid = {
        "alder": {"alder": v(2), "birch": v(5)},
        "birch": {"alder": v(7), "birch": v(6)},
    }
    real = {
        "alder": {"alder": v(0.5), "birch": v(3.5)},
        "birch": {"alder": v(4.5), "birch": v(0.25)},
    }
    sizes = {"scans": {"alder": 14, "birch": 12}, "patients": {"alder": 13, "birch": 11}}
    table = held_out_table(
        {
            "extractor": {"name": "radiomics", "digest": "ab" * 32},
            "matrix": {"held_out": {"kid": kid, **sizes}, "real": {"kid": real, **sizes}},
        }
    )

    assert [cell.text for cell in table.rows[0]] == ["alder", "generator of", "2", "5"]
    assert [cell.text for cell in table.rows[1]] == ["training scans of", "0.500", "3.5"]
    assert [cell.text for cell in table.rows[3]] == ["training scans of", "4.5", "0.250"]
    assert [row[0].note for row in table.rows[::2]] == [
        "14 scans of 13 patients",
        "12 scans of 11 patients",
    ]
    assert "With 11 to 13 held-out patients a hospital" in table.note
    assert "generators' intervals are 2 wide; that of the own" in table.note
    assert "below all others' at 1 of 2." in table.note


def test_whatever_tells_kid_or_fid_names_the_extractor_and_its_digest(results: Results) -> None:
    """Tables by their notes, figures by their captions, and the section by its lead."""
    quality = results.quality
    network = {
        "extractor": {"network": "program", "weights_sha256": "cd" * 32, "digest": "ef" * 32},
        "sites": quality["sites"],
        "matrix": quality["matrix"],
    }
    section = quality_section(
        replace(results, quality={**quality, "extractors": {"dino": network}})
    )
    marks = {quality["extractor"]["digest"][:12], "efefefefefef"}
    said = [section.lead]
    for block in section.blocks:
        if isinstance(block, Gallery):
            said += [f"{figure.alt} {figure.caption}" for figure in block.figures]
        elif isinstance(block, Table):
            said.append(f"{block.title} {told(block)} {block.note}")
    telling = [words for words in said if re.search(r"\b(KID|FID)\b", words)]
    found = [{mark for mark in marks if mark in words} for words in telling]

    assert len(telling) == 11
    assert all(len(names) == 1 for names in found)
    assert sum(names == {"efefefefefef"} for names in found) == 4
