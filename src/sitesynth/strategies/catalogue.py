"""The strategies by name: which sites they see, what they see of them, and how they learn.

`synthetic` and `augmented` learn from the tuned mix; with `-equal` or `-proportional` after their
name they are the same strategies on that mix, so that what tuning brought can be measured. With
`-staged` at the very end, any of them is fitted once for each of the task's stages.
"""

from collections.abc import Mapping, Sequence

from sitesynth.classifiers.training import Examples, Validator
from sitesynth.errors import SettingsError
from sitesynth.settings import MIX_VARIANTS, STAGED, ClassifierSettings, FederatedSettings
from sitesynth.strategies.federated import Federated
from sitesynth.strategies.finetuned import Finetuned
from sitesynth.strategies.pooled import Pooled
from sitesynth.strategies.protocol import Consortium, Site, Strategy


__all__ = [
    "admit",
    "build_strategy",
    "choosers",
    "is_staged",
    "members",
    "needs_real",
    "needs_synthetic",
    "stays_at_sites",
]

LOCAL = "local-"
FINETUNED = "finetuned-"


def is_staged(name: str) -> bool:
    """Return whether a strategy is fitted once for each of the task's stages."""
    return name.endswith(STAGED)


def members(name: str, sites: Sequence[str]) -> list[str]:
    """Return the training sites that a strategy works with."""
    if name.startswith(LOCAL):
        return [name.removeprefix(LOCAL).removesuffix(STAGED)]
    return sorted(sites)


def needs_real(name: str) -> bool:
    """Return whether a strategy learns from real scans."""
    return not name.startswith("synthetic")


def needs_synthetic(name: str) -> bool:
    """Return whether a strategy learns from synthetic scans."""
    return name.startswith(("synthetic", "augmented"))


def stays_at_sites(name: str) -> bool:
    """Return whether a strategy leaves each scan where it is."""
    return name.removesuffix(STAGED) == "federated" or name.startswith(FINETUNED)


def build_strategy(
    name: str, *, classifier: ClassifierSettings, federated: FederatedSettings
) -> Strategy:
    """Build the strategy of that name; of one that is staged, what learns each stage.

    Raises:
        SettingsError: If there is none.
    """
    match plain := name.removesuffix(STAGED):
        case "federated":
            return Federated(classifier, federated)
        case "centralized" | "synthetic" | "augmented":
            return Pooled(classifier)
        case _ if plain in MIX_VARIANTS or plain.startswith(LOCAL):
            return Pooled(classifier)
        case _ if plain.startswith(FINETUNED):
            return Finetuned(plain.removeprefix(FINETUNED), classifier, federated)
        case _:
            raise SettingsError(
                f"there is no strategy '{name}'; there are local-<site>, finetuned-<site>, "
                "centralized, federated, synthetic, augmented and "
                f"{', '.join(MIX_VARIANTS)}; each also with {STAGED}."
            )


def admit(
    name: str,
    *,
    real: Mapping[str, Examples],
    synthetic: Mapping[str, Examples],
    validators: Mapping[str, Validator],
) -> Consortium:
    """Return the sites that a strategy works with, with nothing that it must not see."""
    return {
        site: Site(
            real=real[site] if needs_real(name) else None,
            # A site that gives nothing to the mix still tries the models.
            synthetic=synthetic.get(site) if needs_synthetic(name) else None,
            validate=validators[site],
        )
        for site in members(name, tuple(validators))
    }


def choosers(name: str, sites: Consortium) -> Consortium:
    """Return the sites whose validation scans choose a strategy's threshold: its classifier's."""
    site = name.removeprefix(FINETUNED).removesuffix(STAGED)
    return {site: sites[site]} if name.startswith(FINETUNED) else sites
