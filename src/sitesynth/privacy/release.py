"""No generator leaves its site without a passed audit of the very weights that leave."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sitesynth.errors import ReleaseRefusedError
from sitesynth.generators.weights import AUTOENCODER_FILE, FLOW_FILE
from sitesynth.storage import digest_of_file


__all__ = ["PASSED", "REFUSED", "check_release", "digest_weights"]

PASSED: Final = "passed"
REFUSED: Final = "refused"

CORRECTION: Final = "correction"
"""What an audit calls the correction of samples, among the weights."""


def digest_weights(autoencoder_folder: Path, flow_folder: Path, correction: Path) -> dict[str, str]:
    """Return the SHA-256 of a generator's weights and correction, to which an audit is bound."""
    return {
        AUTOENCODER_FILE: digest_of_file(autoencoder_folder / AUTOENCODER_FILE),
        FLOW_FILE: digest_of_file(flow_folder / FLOW_FILE),
        CORRECTION: digest_of_file(correction),
    }


def check_release(audit: Mapping[str, Any], weights: Mapping[str, str]) -> None:
    """Let a generator leave its site, or stop it.

    Args:
        audit: What `audit_privacy` found, as read from the site's file.
        weights: Of the generator that is about to leave; see `digest_weights`.

    Raises:
        ReleaseRefusedError: If the gate refused, or if the audit is of other weights.
    """
    site, gate = audit["site"], audit["gate"]
    if dict(audit["weights"]) != dict(weights):
        raise ReleaseRefusedError(
            f"the privacy audit of {site} is of other weights than those to be packed. "
            "Run `dvc repro assess_privacy`."
        )
    if gate["verdict"] != PASSED:
        reasons = " ".join(gate["reasons"])
        raise ReleaseRefusedError(
            f"the generator of {site} may not leave its site. {reasons} Train it for fewer steps, "
            "make it smaller, or give it more patients (`overrides` in params.yaml), and run "
            "`dvc repro`."
        )
