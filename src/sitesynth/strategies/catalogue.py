"""The strategies by name: which sites they see, what they see of them, and how they learn."""

from collections.abc import Mapping

from sitesynth.classifiers.training import Examples, Validator
from sitesynth.errors import SettingsError
from sitesynth.settings import ClassifierSettings, FederatedSettings
from sitesynth.strategies.federated import Federated
from sitesynth.strategies.pooled import Pooled
from sitesynth.strategies.protocol import Consortium, Site, Strategy


__all__ = ["admit", "build_strategy", "needs_real", "needs_synthetic"]

LOCAL = "local-"


def needs_real(name: str) -> bool:
    """Return whether a strategy learns from real scans."""
    return name != "synthetic"


def needs_synthetic(name: str) -> bool:
    """Return whether a strategy learns from synthetic scans."""
    return name in {"synthetic", "augmented"}


def build_strategy(
    name: str, *, classifier: ClassifierSettings, federated: FederatedSettings
) -> Strategy:
    """Build the strategy of that name.

    Raises:
        SettingsError: If there is none.
    """
    match name:
        case "centralized" | "synthetic" | "augmented":
            return Pooled(classifier)
        case "federated":
            return Federated(classifier, federated)
        case _ if name.startswith(LOCAL):
            return Pooled(classifier)
        case _:
            raise SettingsError(
                f"there is no strategy '{name}'; there are local-<site>, centralized, federated, "
                "synthetic and augmented."
            )


def admit(
    name: str,
    *,
    real: Mapping[str, Examples],
    synthetic: Mapping[str, Examples],
    validators: Mapping[str, Validator],
) -> Consortium:
    """Return the sites that a strategy works with, with nothing that it must not see."""
    names = [name.removeprefix(LOCAL)] if name.startswith(LOCAL) else sorted(validators)
    return {
        site: Site(
            real=real[site] if needs_real(name) else None,
            synthetic=synthetic[site] if needs_synthetic(name) else None,
            validate=validators[site],
        )
        for site in names
    }
