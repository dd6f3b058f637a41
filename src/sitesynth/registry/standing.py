"""How a version stands at the moment somebody wants it promoted: against the files it was judged
by, the study's frozen test, and the champion it would replace.
"""  # noqa: D205

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from sitesynth.evaluation.comparisons import compare_strategies
from sitesynth.evaluation.predictions import read_predictions
from sitesynth.registry.gates import Gate
from sitesynth.registry.packaging import EVIDENCE, FILES, JUDGED, PREDICTIONS, digest_of_folder
from sitesynth.registry.versions import Version, folder_of
from sitesynth.storage import read_json


if TYPE_CHECKING:
    from sitesynth.mlruns import Mlruns


__all__ = ["Standards", "gates_of_standing"]


@final
@dataclass(frozen=True, slots=True)
class Standards:
    """What a version is held to, by the study in use."""

    test_sha256: str
    """Digest of the frozen list of external patients."""
    margin: float
    """Largest loss of AUC against the champion that still counts as not inferior."""
    num_resamples: int
    seed: int


def gates_of_standing(
    mlruns: "Mlruns", version: Version, champion: Version | None, standards: Standards
) -> list[Gate]:
    """Judge a version as it is now; a rule per line."""
    folder = folder_of(mlruns, version)
    found = digest_of_folder(folder / FILES)
    gates = [
        Gate("its files are those that were judged", found, found == version.tags.get("sha256"))
    ]
    replaced = None if champion is None or champion.number == version.number else champion
    if replaced is not None:
        ours, theirs = version.tags.get("study"), replaced.tags.get("study")
        gates.append(
            Gate(
                "of the same study as the champion that it replaces",
                f"study {ours}, champion of study {theirs}",
                ours == theirs,
            )
        )
    if (folder / EVIDENCE).exists():
        gates += _gates_of_evidence(mlruns, version, replaced, standards)
    elif version.model.startswith("classifier-"):
        gates.append(Gate("its predictions are kept with it", "there are none", passed=False))
    return gates


def _gates_of_evidence(
    mlruns: "Mlruns", version: Version, champion: Version | None, standards: Standards
) -> list[Gate]:
    mine = folder_of(mlruns, version) / EVIDENCE
    digest, judged = digest_of_folder(mine), read_json(mine / JUDGED)
    gates = [
        Gate(
            "its predictions are those that were judged",
            digest,
            digest == version.tags.get("evidence_sha256"),
        ),
        Gate(
            "judged on the frozen test patients of the study in use",
            judged["test_sha256"],
            judged["test_sha256"] == standards.test_sha256,
        ),
    ]
    if champion is not None:
        gates.append(
            _against_champion(mine, folder_of(mlruns, champion) / EVIDENCE, champion, standards)
        )
    return gates


def _against_champion(mine: Path, theirs: Path, champion: Version, standards: Standards) -> Gate:
    rule = f"not inferior to the champion, version {champion.number}"
    if not theirs.exists():
        return Gate(
            rule, "its predictions were not kept; `sitesynth retire` it first", passed=False
        )
    told = {"challenger": read_json(mine / JUDGED), "champion": read_json(theirs / JUDGED)}
    if told["challenger"]["test_sha256"] != told["champion"]["test_sha256"]:
        return Gate(
            rule,
            "it was judged on other patients "
            f"({told['champion']['test_sha256'][:12]}); `sitesynth retire` it first",
            passed=False,
        )
    comparison = _compare(mine, theirs, told, standards)
    return Gate(rule, comparison["statement"], bool(comparison["non_inferior"]))


def _compare(
    mine: Path, theirs: Path, told: Mapping[str, Mapping[str, Any]], standards: Standards
) -> Mapping[str, Any]:
    """Compare two versions' predictions as the study compares its strategies."""
    predictions = {
        "challenger": read_predictions(mine / PREDICTIONS),
        "champion": read_predictions(theirs / PREDICTIONS),
    }
    compared = compare_strategies(
        predictions,
        {name: judged["threshold"] for name, judged in told.items()},
        task="",
        positive="",
        sites=sorted(set(predictions["champion"].sites)),
        reference="champion",
        margin=standards.margin,
        num_resamples=standards.num_resamples,
        test_sha256=standards.test_sha256,
        seed=standards.seed,
    )
    found: Mapping[str, Any] = compared["comparisons"][0]
    return found
