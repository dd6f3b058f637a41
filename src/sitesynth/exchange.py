"""What sites and hub send each other: federated rounds against one bundle per site.

In federated averaging every site receives and returns the classifier in every round; in the
one-shot exchange every site sends its generator once:

    federated   2 * rounds * sites * classifier bytes (as sealed, with encryption)
    one-shot    sites * generator bytes

so that federated learning sends less below `generator / (2 * classifier)` rounds. With a small
classifier and few rounds it wins: the ledger computes, and asserts nothing.

That is the exchange that one classifier needs. Beside it stands what this study sent: every member
of the federated ensemble, and the models that the hub sent to the sites' validation scans to tune
the mix, without which the one-shot exchange is one message per site.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from sitesynth.storage import read_json


__all__ = [
    "PAPER_SCALE",
    "Scale",
    "as_run",
    "extrapolate",
    "ledger",
    "measure_folder",
    "read_seconds",
    "read_traffic",
]

Json = dict[str, Any]


@final
@dataclass(frozen=True, slots=True)
class Scale:
    """The size of a study, as far as the exchange depends on it."""

    num_sites: int
    num_rounds: int
    model_bytes: int
    """One classifier."""
    generator_bytes: int
    """One site's bundle."""
    source: str
    """Where the sizes are from."""


PAPER_SCALE: Final = Scale(
    num_sites=3,
    num_rounds=100,
    model_bytes=4 * 11_390_000,
    generator_bytes=4 * (166_500_000 + 20_900_000),
    source="three training sites and 100 rounds as in the CATphishing study; sizes assumed: a 3D "
    "DenseNet121 with four input channels (11.39 M parameters), and MONAI's BraTS latent diffusion "
    "bundle (166.5 M) with its autoencoder (20.9 M), all in float32",
)


def extrapolate(scale: Scale) -> Json:
    """Return what either exchange would send at a given scale."""
    federated = 2 * scale.num_rounds * scale.num_sites * scale.model_bytes
    one_shot = scale.num_sites * scale.generator_bytes
    return {
        "num_sites": scale.num_sites,
        "rounds": scale.num_rounds,
        "model_bytes": scale.model_bytes,
        "generator_bytes": scale.generator_bytes,
        "federated_bytes": federated,
        "one_shot_bytes": one_shot,
        "federated_to_one_shot": federated / one_shot,
        "break_even_rounds": scale.generator_bytes / (2 * scale.model_bytes),
        "source": scale.source,
    }


def ledger(
    *,
    federated_rounds: int,
    num_sites: int,
    model_bytes: int,
    bundle_bytes: Mapping[str, int],
    seconds: Mapping[str, float | None],
    num_members: int,
    num_validations: int,
    message_bytes: int,
    privacy: Mapping[str, Any],
    measured: Mapping[str, Any] | None = None,
) -> Json:
    """Return the content of results/exchange.json.

    Args:
        federated_rounds: Exchanges of weights between the sites and the hub.
        num_sites: Training sites.
        model_bytes: One classifier's weights, as they would be sent.
        bundle_bytes: By site: everything in its bundle's folder.
        seconds: `federated_` and `one_shot_`, each with `wall`, `processor` and `accelerator`: what
            was measured; None or absent if it was not.
        num_members: Trainings behind a strategy's prediction, each of them federated.
        num_validations: Models that tuning the mix sent to every site.
        message_bytes: The same weights as a federated round sends them: sealed, or as they are.
        privacy: What hid the sites' updates in federated rounds: knobs, by name.
        measured: What a federated engine counted; None where nothing travelled.
    """
    federated = 2 * federated_rounds * num_sites * message_bytes
    one_shot = sum(bundle_bytes.values())
    break_even = one_shot / (2 * num_sites * message_bytes)
    return {
        "federated": {
            "rounds": federated_rounds,
            "messages": 2 * federated_rounds * num_sites,
            "bytes": federated,
            "bytes_per_round": 2 * num_sites * message_bytes,
            "model_bytes": model_bytes,
            "message_bytes": message_bytes,
            "privacy": dict(privacy),
            "wall_seconds": seconds.get("federated_wall"),
            "processor_seconds": seconds.get("federated_processor"),
            "accelerator_seconds": seconds.get("federated_accelerator"),
            "measured": None if measured is None else beside_formula(measured, federated),
        },
        "one_shot": {
            "rounds": 1,
            "messages": len(bundle_bytes),
            "bytes": one_shot,
            "bundle_bytes": dict(bundle_bytes),
            "wall_seconds": seconds.get("one_shot_wall"),
            "processor_seconds": seconds.get("one_shot_processor"),
            "accelerator_seconds": seconds.get("one_shot_accelerator"),
        },
        "as_run": as_run(
            federated_bytes=federated,
            bundle_bytes=one_shot,
            num_sites=num_sites,
            model_bytes=model_bytes,
            num_members=num_members,
            num_validations=num_validations,
        ),
        "break_even_rounds": break_even,
        "fewer_bytes": _fewer(federated, one_shot),
        "statement": _state(federated_rounds, federated, one_shot, break_even),
        "paper_scale": extrapolate(PAPER_SCALE),
    }


def as_run(
    *,
    federated_bytes: int,
    bundle_bytes: int,
    num_sites: int,
    model_bytes: int,
    num_members: int,
    num_validations: int,
) -> Json:
    """Return what the study as it was run sends: all members, and the tuning of the mix.

    A site answers a model that is tried with sums, of some hundred bytes, which are not counted.
    """
    federated = num_members * federated_bytes
    tuning = num_validations * num_sites * model_bytes
    return {
        "members": num_members,
        "validations": num_validations,
        "federated_bytes": federated,
        "tuning_bytes": tuning,
        "one_shot_bytes": bundle_bytes + tuning,
        "one_shot_bytes_untuned": bundle_bytes,
        "fewer_bytes": _fewer(federated, bundle_bytes + tuning),
    }


def beside_formula(measured: Mapping[str, Any], formula_bytes: int) -> Json:
    """Return what an engine counted, per classifier too, and how it stands to the formula.

    It exceeds the formula by what the formula leaves out: the last weights, which travel once more
    to be tried, all classifiers' together, to choose a threshold, and the engine's own messages.
    """
    per_member = measured["bytes"] / measured["members"]
    told = {key: value for key, value in measured.items() if key != "rounds"}
    return told | {
        "bytes_per_member": per_member,
        "to_formula": per_member / formula_bytes,
    }


def read_traffic(folder: Path) -> Json | None:
    """Read what the federated stage counted; None if it counted nothing, or was not run here."""
    file = folder / "traffic/federated.json"
    return read_json(file) if file.exists() else None


def read_seconds(folder: Path, *, sites: Sequence[str]) -> dict[str, float | None]:
    """Read what the stages took, as `ledger` wants it.

    Stages run one after another on one machine, so sites' times add up: this is the study's
    computing time, not what sites working at once would wait.

    Args:
        folder: Where each stage instance has left `<stage>@<item>.json` with its `seconds`, those
            of its `processor`s, and whether an `accelerator` was used.
        sites: The training sites.
    """
    one_shot = ["tune_mixing@None", "train_classifier@synthetic"]
    for stage in ("train_autoencoder", "train_diffusion", "correct", "package", "sample"):
        one_shot += [f"{stage}@{site}" for site in sites]
    told: dict[str, float | None] = {}
    for name, stages in (("federated", ["train_classifier@federated"]), ("one_shot", one_shot)):
        files = [folder / f"{stage}.json" for stage in stages]
        # A stage restored from DVC's cache, and not run here, has left no time.
        timings = [read_json(file) for file in files if file.exists()]
        is_whole = len(timings) == len(files)
        told[f"{name}_wall"] = sum(t["seconds"] for t in timings) if is_whole else None
        # A file of an earlier version tells none, and its stage need not run again for that.
        spent = [t["processor"] for t in timings if "processor" in t]
        told[f"{name}_processor"] = sum(spent) if len(spent) == len(files) else None
        told[f"{name}_accelerator"] = (
            sum(t["seconds"] for t in timings if t["accelerator"]) if is_whole else None
        )
    return told


def measure_folder(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _fewer(federated: int, one_shot: int) -> str:
    if federated == one_shot:
        return "equal"
    return "federated" if federated < one_shot else "one_shot"


def _state(rounds: int, federated: int, one_shot: int, break_even: float) -> str:
    """Say in one sentence which exchange sent less, and when that would turn."""
    return (
        f"{rounds} federated rounds send {_shown(federated)}, the bundles {_shown(one_shot)} once; "
        f"federated averaging sends less below {break_even:.1f} rounds."
    )


def _shown(num_bytes: int) -> str:
    """Show bytes in the largest decimal unit that leaves a number of at least 1."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if num_bytes >= size:
            return f"{num_bytes / size:.1f} {unit}"
    return f"{num_bytes} bytes"
