"""A study made so small that a generator trains in seconds; nothing it learns is worth a look."""

from collections.abc import Mapping
from typing import Any


__all__ = ["shrink"]

SITES = {"all": ["alder", "birch", "elm"], "training": ["alder", "birch"], "external": ["elm"]}


def shrink(params: dict[str, Any], *, patients: int, phantom_sites: Mapping[str, Any]) -> None:
    """Shrink a phantom study in place, to three sites and a few steps of everything.

    Args:
        params: The content of a study file.
        patients: At each site.
        phantom_sites: What else each site's phantoms change.
    """
    params["sites"] = {role: [*sites] for role, sites in SITES.items()}
    params["strategies"] = ["local-alder", "centralized", "federated", "synthetic", "augmented"]
    changed = {"num_patients": patients, "spacing_mm": [6.0, 6.0, 8.0], **phantom_sites}
    sites = params["phantom"]["sites"]
    params["phantom"]["sites"] = {site: sites[site] | changed for site in SITES["all"]}
    params["check"]["min_patients_per_class"] = 2
    params["split"]["validation_fraction"] = 0.4
    params["grid"] |= {"shape": [16, 16, 16], "spacing_mm": [7.0, 7.0, 7.0]}
    params["autoencoder"] |= {"channels": [8, 8], "latent_channels": 8, "num_steps": 3}
    params["diffusion"] |= {"patch": [2, 2, 2], "width": 32, "depth": 1, "num_steps": 3}
    params["sampling"] |= {"num_steps": 2, "num_per_class": 6}
    params["quality"] |= {"num_pairs": 10, "num_resamples": 100}
    params["privacy"] |= {"num_splits": 20, "min_held_out": 4}
    params["classifier"] |= {"num_steps": 6, "validate_every": 3, "num_seeds": 2}
    params["mixing"] |= {"num_trials": 3, "num_random": 2, "min_per_class": 4}
    params["mixing"] |= {"num_steps": 4, "validate_every": 2, "num_finalists": 1}
    # The engine changes no bit (test_train_classifier.py), and takes twenty seconds to start.
    params["federated"] |= {"num_rounds": 2, "engine": "in_process"}
    params["evaluation"] |= {"num_resamples": 200}
    params["overrides"] = {site: {} for site in SITES["all"]}
