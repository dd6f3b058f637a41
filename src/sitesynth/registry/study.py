"""Putting a whole study's models into the registry."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sitesynth.registry.gates import (
    gates_of_classifier,
    gates_of_generator,
    privacy_gate,
    refusals,
)
from sitesynth.registry.promotion import champion_of, promote
from sitesynth.registry.versions import CHALLENGER, CHAMPION, Submission, Version, register
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
    bundles: Mapping[str, Path],
    settings: RegistrySettings,
    tags: Mapping[str, str],
) -> list[Submission]:
    """Gather the classifier of every strategy, judged.

    Args:
        folder: Holds one folder per strategy.
        strategies: Which.
        label: What the classifiers tell.
        comparison: Content of results/comparison.json.
        bundles: The generator bundle of every training site.
        settings: The limits.
        tags: Of every version.
    """
    privacy = {site: privacy_gate(read_json(path / "card.json")) for site, path in bundles.items()}
    found = []
    for strategy in sorted(strategies):
        auc = comparison["strategies"][strategy]["overall"]["auc"]
        found.append(
            Submission(
                model=f"classifier-{label}",
                folder=folder / strategy,
                tags={
                    **tags,
                    "strategy": strategy,
                    "external_auc": str(auc["value"]),
                    "external_auc_low": str(auc["low"]),
                    "external_auc_high": str(auc["high"]),
                },
                gates=gates_of_classifier(strategy, comparison, settings=settings, privacy=privacy),
                stage=f"train_classifier@{strategy}",
                score=-1.0 if auc["value"] is None else auc["value"],
                is_candidate=strategy in settings.candidates,
            )
        )
    return found


def generators_of(bundles: Mapping[str, Path], *, tags: Mapping[str, str]) -> list[Submission]:
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
            )
        )
    return found


def register_all(
    mlruns: "Mlruns", study: str, submissions: Sequence[Submission]
) -> list[dict[str, Any]]:
    """Register models, set aliases, and return the receipt: an entry per version.

    The best candidate of each model becomes challenger, and the best whose gates all pass becomes
    champion; a champion stays where no candidate passes. Registering the same files again changes
    nothing.
    """
    versions = [register(mlruns, study, submission) for submission in submissions]
    aliases: dict[tuple[str, int], str] = {}
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
            aliases[model, best.number] = CHALLENGER
        passing = [pair for pair in ranked if not refusals(pair[0].gates)]
        for submission, best in passing[:1]:
            why = f"best of study {study} that passes, by {submission.stage}"
            promote(
                mlruns,
                model,
                str(best.number),
                who=WHO,
                why=why,
                instead_of=champion_of(mlruns, model),
            )
            aliases[model, best.number] = CHAMPION
    return [
        _entry(submission, version, aliases.get((version.model, version.number)))
        for submission, version in zip(submissions, versions, strict=True)
    ]


def _entry(submission: Submission, version: Version, alias: str | None) -> dict[str, Any]:
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
        "gates": [asdict(gate) for gate in submission.gates],
    }
