"""What a version tells people and programs about itself: its card, its columns, an example."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sitesynth.mlruns import Column
from sitesynth.patterns import are_side_by_side
from sitesynth.registry.gates import Gate
from sitesynth.registry.packaging import JUDGED, PREDICTIONS, Contents
from sitesynth.storage import read_json


__all__ = ["describe_classifier", "describe_generator"]

IDENTITY = (Column("patient_id", "string", required=False),)

EXAMPLE_SCAN = base64.b64encode(b"the bytes of a NIfTI file, or of a PNG").decode()
"""Not a scan: nobody's would do, and a blank one shows nothing that the base64 does not."""


def describe_classifier(
    folder: Path,
    evaluation: Path,
    *,
    results: Mapping[str, Any],
    gates: Sequence[Gate],
    tags: Mapping[str, str],
    lineage: str,
) -> Contents:
    """Describe a classifier.

    Args:
        folder: Its files.
        evaluation: What the stage `evaluate` wrote of it.
        results: Its entry in results/comparison.json.
        gates: What was judged of it.
        tags: Where it comes from.
        lineage: What its stage was made from.
    """
    config = read_json(folder / "classifier.json")
    names = [*config["sequences"], *(["mask"] if config["grid"]["region"] == "tumour" else [])]
    return Contents(
        inputs=[*IDENTITY, *(Column(name, "binary", required=False) for name in names)],
        outputs=[
            *(
                Column(f"probability{suffix}", "double", required=True)
                for suffix in (
                    [f"_{name}" for name in config["classes"]]
                    if config["positive"] is None
                    else [""]
                )
            ),
            Column("call", "string", required=True),
            Column("warning", "string", required=True),
        ],
        example={"patient_id": "P001", **dict.fromkeys(names, EXAMPLE_SCAN)},
        card=_classifier_card(config, results, gates, tags, names),
        evidence={
            PREDICTIONS: (evaluation / "predictions.csv").read_text(encoding="utf-8"),
            JUDGED: (evaluation / "metrics.json").read_text(encoding="utf-8"),
        },
        lineage=lineage,
    )


def describe_generator(folder: Path, *, lineage: str) -> Contents:
    """Describe the generator of a bundle, whose card it brings."""
    config = read_json(folder / "config.json")
    return Contents(
        inputs=[
            Column("label", "string", required=True),
            Column("index", "long", required=True),
            Column("seed", "long", required=True),
            Column("num_steps", "long", required=True),
            Column("sampler", "string", required=True),
            Column("eta", "double", required=True),
            Column("guidance", "double", required=True),
        ],
        outputs=[Column(name, "binary", required=True) for name in config["channels"]],
        example={
            "label": config["classes"][0],
            "index": 0,
            "seed": 1,
            "num_steps": 8,
            "sampler": "sde",
            "eta": 1.0,
            "guidance": 1.0,
        },
        card=(folder / "card.md").read_text(encoding="utf-8"),
        evidence={},
        lineage=lineage,
    )


def _classifier_card(
    config: Mapping[str, Any],
    results: Mapping[str, Any],
    gates: Sequence[Gate],
    tags: Mapping[str, str],
    names: Sequence[str],
) -> str:
    found = results["overall"]
    figures = ("auc", "sensitivity", "specificity", "brier", "ece")
    by_site = [
        f"| {site} | {told['n']} | {_shown(told['auc'])} |"
        for site, told in sorted(results["sites"].items())
    ]
    lines = [
        f"# Classifier of {config['label']}, strategy {config['strategy']}",
        "",
        _what_is_told(config),
        "",
        "## Asked",
        "",
        (
            f"A scan as files (NIfTI, or pictures in 2D): {', '.join(names)}; any may be missing. "
            f"They are prepared as the training scans were: grid "
            f"{'x'.join(map(str, config['grid']['shape']))}, centred on the "
            f"{config['grid']['region']}."
        ),
        "",
        f"## Found in {found['n']} external patients ({_composition(found, config)})",
        "",
        *[f"- {name}: {_shown(found[name])}" for name in figures],
        *[
            f"- {name} against the rest: auc {_shown(found['classes'][name]['auc'])}, recall "
            f"{_shown(found['classes'][name]['sensitivity'])}"
            for name in (config["classes"] if config["positive"] is None else ())
        ],
        "",
        "| site | patients | AUC |",
        "|---|---|---|",
        *by_site,
        "",
        "## Gates",
        "",
        *[f"- {gate}" for gate in gates],
        "",
        "## From",
        "",
        *[f"- {name}: {value}" for name, value in sorted(tags.items())],
        "",
        "Not a medical device. Other scanners, other patients: other numbers.",
        "",
    ]
    return "\n".join(lines)


def _what_is_told(config: Mapping[str, Any]) -> str:
    classes, trainings = ", ".join(config["classes"]), config["classifier"]["num_seeds"]
    if are_side_by_side(config["label"]):
        return (
            f"Probabilities of {classes}, told side by side, each the mean of {trainings} "
            "trainings of a DenseNet. A finding is called from one half on. The figures below are "
            "means over the findings."
        )
    if config["positive"] is None:
        return (
            f"Probabilities of {classes}, each the mean of {trainings} trainings of a DenseNet. "
            "Called the most probable one. The figures below are means over the classes."
        )
    return (
        f"Probability of {config['positive']} among {classes}, the mean "
        f"of {trainings} trainings of a DenseNet. Called "
        f"{config['positive']} from {config['threshold']:g}."
    )


def _composition(found: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    if config["positive"] is None:
        return ", ".join(f"{found['counts'][name]} {name}" for name in config["classes"])
    return f"{found['positives']} {config['positive']}"


def _shown(found: Mapping[str, float | None]) -> str:
    if found["value"] is None:
        return "not defined"
    if found["low"] is None:
        return f"{found['value']:.3f}"
    return f"{found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})"
