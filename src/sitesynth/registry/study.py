"""Putting a whole study's models into the registry."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sitesynth.classifiers.provenance import read_provenance
from sitesynth.lockfile import LockedStage
from sitesynth.registry.audit import lineage_of
from sitesynth.registry.cards import describe_classifier, describe_generator
from sitesynth.registry.gates import (
    Gate,
    gates_of_classifier,
    gates_of_generator,
    privacy_gate,
    refusals,
)
from sitesynth.registry.promotion import champion_of, judge, list_moves, promote
from sitesynth.registry.standing import Standards
from sitesynth.registry.versions import (
    CHALLENGER,
    CHAMPION,
    Submission,
    Version,
    list_versions,
    register,
)
from sitesynth.settings import RegistrySettings
from sitesynth.storage import digest_of_file, read_json


if TYPE_CHECKING:
    from sitesynth.mlruns import Mlruns


__all__ = ["classifiers_of", "generators_of", "register_all"]

WHO = "the register stage"


def classifiers_of(
    folder: Path,
    strategies: Sequence[str],
    *,
    label: str,
    comparison: Mapping[str, Any],
    evaluation: Path,
    bundles: Mapping[str, Path],
    test_patients: Collection[str],
    settings: RegistrySettings,
    tags: Mapping[str, str],
    lock: Mapping[str, LockedStage],
) -> list[Submission]:
    """Gather the classifier of every strategy, judged.

    Args:
        folder: Holds one folder per strategy.
        strategies: Which.
        label: What the classifiers tell.
        comparison: Content of results/comparison.json.
        evaluation: Holds what the stage `evaluate` wrote, one folder per strategy.
        bundles: The generator bundle of every training site.
        test_patients: Digests of the external patients.
        settings: The limits.
        tags: Of every version.
        lock: What dvc.lock says.
    """
    privacy = {site: privacy_gate(read_json(path / "card.json")) for site, path in bundles.items()}
    found = []
    for strategy in sorted(strategies):
        results = comparison["strategies"][strategy]
        auc = results["overall"]["auc"]
        about = {
            **tags,
            "strategy": strategy,
            "external_auc": str(auc["value"]),
            "external_auc_low": str(auc["low"]),
            "external_auc_high": str(auc["high"]),
        }
        gates = gates_of_classifier(
            strategy,
            comparison,
            settings=settings,
            privacy=privacy,
            provenance=read_provenance(folder / strategy),
            test_patients=test_patients,
        )
        found.append(
            Submission(
                model=f"classifier-{label}",
                folder=folder / strategy,
                tags=about,
                gates=gates,
                stage=f"train_classifier@{strategy}",
                score=-1.0 if auc["value"] is None else auc["value"],
                is_candidate=strategy in settings.candidates,
                contents=describe_classifier(
                    folder / strategy,
                    evaluation / strategy,
                    results=results,
                    gates=gates,
                    tags=about,
                    lineage=lineage_of(lock, f"train_classifier@{strategy}"),
                ),
            )
        )
    return found


def generators_of(
    bundles: Mapping[str, Path], *, tags: Mapping[str, str], lock: Mapping[str, LockedStage]
) -> list[Submission]:
    """Gather the generator of every site, judged by its bundle's card."""
    found = []
    for site, folder in sorted(bundles.items()):
        card = read_json(folder / "card.json")
        found.append(
            Submission(
                model=f"generator-{site}",
                folder=folder,
                tags={
                    **tags,
                    "site": site,
                    "privacy_gate": privacy_gate(card),
                    "bundle": digest_of_file(folder / "SHA256SUMS"),
                },
                gates=gates_of_generator(card),
                stage=f"package@{site}",
                score=0.0,
                is_candidate=True,
                contents=describe_generator(folder, lineage=lineage_of(lock, f"package@{site}")),
            )
        )
    return found


def register_all(
    mlruns: "Mlruns", study: str, submissions: Sequence[Submission], *, standards: Standards
) -> list[dict[str, Any]]:
    """Register models, set aliases, and return the receipt: an entry per version.

    The best candidate of each model becomes challenger, and the best whose gates all pass becomes
    champion; a champion stays where no candidate passes. Registering the same files again changes
    nothing, so that who was rolled back does not come back by itself.
    """
    versions = [register(mlruns, study, submission) for submission in submissions]
    refused: dict[tuple[str, int], list[Gate]] = {}
    for model in sorted({submission.model for submission in submissions}):
        ranked = sorted(
            (
                (submission, version)
                for submission, version in zip(submissions, versions, strict=True)
                if submission.model == model and submission.is_candidate
            ),
            key=lambda pair: -pair[0].score,
        )
        for _, best in ranked[:1]:
            mlruns.client.set_registered_model_alias(model, CHALLENGER, str(best.number))
        refused |= _crown(mlruns, study, ranked, standards)
    challengers = {model: _challenger(mlruns, model) for model in {v.model for v in versions}}
    return [
        _entry(
            submission,
            version,
            _alias_of(mlruns, version, challengers[version.model]),
            refused.get((version.model, version.number), []),
        )
        for submission, version in zip(submissions, versions, strict=True)
    ]


def _crown(
    mlruns: "Mlruns",
    study: str,
    ranked: Sequence[tuple[Submission, Version]],
    standards: Standards,
) -> dict[tuple[str, int], list[Gate]]:
    """Make the best version that passes champion, once; return what refused the better ones."""
    refused = {}
    for submission, version in ranked:
        if refusals(submission.gates):
            continue
        if version.number in {move["to"] for move in list_moves(version.model)}:
            break
        found = refusals(judge(mlruns, version, standards))
        if found:
            refused[version.model, version.number] = found
            continue
        promote(
            mlruns,
            version.model,
            str(version.number),
            who=WHO,
            why=f"best of study {study} that passes, by {submission.stage}",
            instead_of=champion_of(mlruns, version.model),
            standards=standards,
        )
        break
    return refused


def _alias_of(mlruns: "Mlruns", version: Version, challenger: int | None) -> str | None:
    champion = champion_of(mlruns, version.model)
    if champion is not None and champion.number == version.number:
        return CHAMPION
    return CHALLENGER if version.number == challenger else None


def _challenger(mlruns: "Mlruns", model: str) -> int | None:
    return next(
        (found.number for found in list_versions(mlruns, model) if CHALLENGER in found.aliases),
        None,
    )


def _entry(
    submission: Submission, version: Version, alias: str | None, refused: Sequence[Gate]
) -> dict[str, Any]:
    """Return one line of the receipt: nothing that differs between two clones of a study."""
    subject = {
        name: submission.tags[name] for name in ("strategy", "site") if name in submission.tags
    }
    return {
        **subject,
        "model": version.model,
        "version": version.number,
        "alias": alias,
        "sha256": version.tags["sha256"],
        "gates": [asdict(gate) for gate in [*submission.gates, *refused]],
    }
