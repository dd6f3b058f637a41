"""What hiding a site's update costs: AUC, bytes and seconds.

First one message of the study's classifier: as it is, sealed as the project does (BFV), and as
NVFlare's filters would (CKKS, with its own parameters; what it decrypts is approximate). Then the
study's federated strategy, with other knobs of `federated` and nothing else changed:

    none             nothing is hidden
    clip             every site's change scaled down to the median length of an open round
    clip + noise z   and noise of z times that length in each number
    bfv              the hub adds ciphertexts

AUC is that of the external sites' patients, a mean over trainings of which each has its own seed.
Bytes are those of the messages' weights, both ways, of one training; the engine's own come on top.
Hiding is the processor time that sites take to damp, seal and open, all sites and rounds of one
training; what the hub takes to add is in the processor time.

    OMP_NUM_THREADS=1 python -m benchmarks.federation_privacy [--steps 304] [--rounds 16]

Needs `dvc repro preprocess` before it. Ten minutes on an idle core.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import tenseal
import torch
from torch import nn

from sitesynth import seeds
from sitesynth.classifiers.network import build_classifier
from sitesynth.classifiers.training import predict
from sitesynth.evaluation.metrics import auc
from sitesynth.images import read_images
from sitesynth.settings import FederatedSettings, Settings, load_settings
from sitesynth.strategies.answers import Answer, Answers, Ask, Question, change_of
from sitesynth.strategies.averaging import Weights
from sitesynth.strategies.federated import ask_in_turn
from sitesynth.strategies.fitting import SiteLoader
from sitesynth.strategies.participant import Participant
from sitesynth.strategies.parts import trained_names
from sitesynth.strategies.protocol import Site
from sitesynth.strategies.rounds import Hub
from sitesynth.strategies.sealed import SLOTS
from sitesynth.strategies.sealing import Seal, SiteKey, add_sealed, check_sealed


__all__ = ["main"]

NOISES: Final = (0.0003, 0.003)
NUM_SITES: Final = 3


@dataclass
class Cost:
    """What one training has cost so far."""

    bytes_sent: int = 0
    hiding_s: float = 0.0
    changes: list[float] = field(default_factory=list)
    """Lengths of the sites' changes, where they can be seen."""


def bytes_of(weights: Weights) -> int:
    """Return the bytes of weights as they travel."""
    return sum(value.numel() * value.element_size() for value in weights.values())


def build(study: Settings, member: int) -> nn.Module:
    """Return a member's untrained classifier."""
    return build_classifier(
        study.classifier,
        num_sequences=len(study.cohort.sequences),
        num_classes=len(study.classes),
        dims=len(study.grid.shape),
        rng=seeds.generator(study.seed, "classifier", member, "weights"),
    )


def open_sites(study: Settings, images: Path) -> dict[str, Site]:
    """Return what the training sites offer."""
    loader = SiteLoader(study.task.label, study.classes, study.task.positive)
    sites = {}
    for name in study.sites.training:
        found = read_images(images / name)
        real = loader.load(found.in_split("train"), "real")
        sites[name] = Site(real=real, synthetic=None, validate=loader.validator(found))
    return sites


def counting(ask: Ask, cost: Cost, trained: Collection[str]) -> Ask:
    """Return the same, which writes down what travels."""

    def counted(question: Question, weights: Weights, sites: Collection[str]) -> Answers:
        answers = ask(question, weights, sites)
        cost.bytes_sent += len(sites) * bytes_of(weights)
        for answer in answers.values():
            if isinstance(answer, Answer):
                cost.bytes_sent += bytes_of(answer.weights)
                if question.kind == "train" and answer.change is None:
                    cost.changes.append(change_of(answer.weights, weights, trained))
        return answers

    return counted


def train(
    study: Settings, federated: FederatedSettings, sites: Mapping[str, Site], member: int
) -> tuple[nn.Module, Cost]:
    """Train one classifier in rounds, and count."""
    model, cost = build(study, member), Cost()
    initial = {name: value.clone() for name, value in model.state_dict().items()}
    key = None if federated.encryption == "none" else SiteKey.draw()
    participants = {
        name: Participant(
            name,
            site,
            model,
            settings=study.classifier,
            federated=federated,
            seed=study.seed,
            seal=None if key is None else Seal(key, site=name, sites=[*sites], federated=federated),
        )
        for name, site in sites.items()
    }
    hub = Hub(
        counting(ask_in_turn(participants), cost, trained_names(model)),
        sites=participants,
        trained=trained_names(model),
        federated=federated,
        num_steps=study.classifier.num_steps,
        seed=study.seed,
    )
    model.load_state_dict(hub.train(initial, member=member, on_step=lambda step, losses: None))
    cost.hiding_s = sum(participant.protection_s for participant in participants.values())
    return model.eval(), cost


def external_auc(model: nn.Module, study: Settings, images: Path) -> float:
    """Return a classifier's AUC over the external sites' patients."""
    labels, scores = [], []
    positive = study.classes.index(study.task.positive or "")
    for site in study.sites.external:
        known = read_images(images / site).labelled(study.task.label)
        voxels = known.load(range(len(known)))[:, : len(known.sequences)]
        scores.append(predict(model, voxels)[:, positive].double().numpy())
        labels.append(known.labels(study.task.label, study.classes).numpy() == positive)
    value = auc(np.concatenate(labels), np.concatenate(scores))
    assert value is not None  # noqa: S101 - external sites have both classes
    return value


def show_messages(weights: Weights) -> None:
    """Print what one message costs, by scheme."""
    flat = torch.cat([v.double().flatten() for v in weights.values() if v.is_floating_point()])
    print(f"One message of {len(flat):,} weights; seconds of one thread, three sites added")
    print(f"{'scheme':8}{'MB':>8}{'seal s':>9}{'add s':>9}{'open s':>9}{'largest error':>16}")
    print(f"{'none':8}{4 * len(flat) / 1e6:8.2f}{0:9.2f}{0:9.2f}{0:9.2f}{0:16.1e}")
    for name, row in {"bfv": bfv_message(weights), "ckks": ckks_message(flat.tolist())}.items():
        size, *spent, error = row
        print(f"{name:8}{size / 1e6:8.2f}{''.join(f'{s:9.2f}' for s in spent)}{error:16.1e}")
    sys.stdout.flush()


def bfv_message(weights: Weights) -> tuple[float, float, float, float, float]:
    """Return bytes, seconds to seal, add and open, and the largest error, as the project does."""
    key = SiteKey.draw()
    sites = ("a", "b", "c")
    federated = load_settings(Path("params.yaml")).federated.model_copy(
        update={"encryption": "bfv", "weighting": "equal"}
    )
    seals = [Seal(key, site=site, sites=sites, federated=federated) for site in sites]
    times = [time.process_time()]
    sent = [seal.seal(weights, num_scans=1) for seal in seals]
    times.append(time.process_time())
    numbers = NUM_SITES + 1 + sum(value.numel() for value in weights.values())
    for message in sent:
        check_sealed(message, num_numbers=numbers)
    total = add_sealed(sent)
    times.append(time.process_time())
    opened = seals[0].open(total, like=weights)
    times.append(time.process_time())
    error = max(float((opened[name] - value).abs().max()) for name, value in weights.items())
    seal_s, add_s, open_s = np.diff(times).tolist()
    return bytes_of(sent[0]), seal_s / NUM_SITES, add_s, open_s, error


def ckks_message(values: list[float]) -> tuple[float, float, float, float, float]:
    """Return the same of CKKS, with the parameters of NVFlare's filters."""
    context = tenseal.context(
        tenseal.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[60, 40, 40], n_threads=1
    )
    context.global_scale = 2.0**40
    times = [time.process_time()]
    sent = [
        [
            tenseal.ckks_vector(context, values[start : start + SLOTS]).serialize()
            for start in range(0, len(values), SLOTS)
        ]
        for _ in range(NUM_SITES)
    ]
    times.append(time.process_time())
    sums = []
    for column in zip(*sent, strict=True):
        first, *others = (tenseal.ckks_vector_from(context, chunk) for chunk in column)
        for other in others:
            first += other
        sums.append(first.serialize())
    times.append(time.process_time())
    opened = [x for chunk in sums for x in tenseal.ckks_vector_from(context, chunk).decrypt()]
    times.append(time.process_time())
    error = float(np.abs(np.array(opened) / NUM_SITES - np.array(values)).max())
    seal_s, add_s, open_s = np.diff(times).tolist()
    return sum(map(len, sent[0])), seal_s / NUM_SITES, add_s, open_s, error


def main() -> None:
    """Print both tables."""
    study = load_settings(Path("params.yaml"))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, default=Path("data/images"))
    parser.add_argument("--steps", type=int, default=study.classifier.num_steps)
    parser.add_argument("--rounds", type=int, default=study.federated.num_rounds)
    parser.add_argument("--seeds", type=int, default=2)
    told = parser.parse_args()
    classifier = study.classifier.model_copy(update={"num_steps": told.steps})
    study = study.model_copy(update={"classifier": classifier})
    known = study.federated.model_copy(update={"num_rounds": told.rounds})
    sites = open_sites(study, told.images)
    show_messages(build(study, 0).state_dict())
    print(f"\n{told.steps} steps in {told.rounds} rounds, {told.seeds} trainings")
    print(
        f"{'updates':24}{'AUC (each)':32}{'MB':>8}{'wall s':>9}{'processor s':>13}{'hiding s':>10}"
    )

    def show(name: str, knobs: Mapping[str, Any]) -> list[float]:
        """Print one row, and return the lengths of the changes."""
        aucs, costs, started, spent = [], [], time.monotonic(), time.process_time()
        for member in range(told.seeds):
            model, cost = train(study, known.model_copy(update=knobs), sites, member)
            aucs.append(external_auc(model, study, told.images))
            costs.append(cost)
        each = ", ".join(f"{value:.3f}" for value in aucs)
        print(
            f"{name:24}{f'{statistics.mean(aucs):.3f} ({each})':32}"
            f"{costs[0].bytes_sent / 1e6:8.1f}"
            f"{(time.monotonic() - started) / told.seeds:9.1f}"
            f"{(time.process_time() - spent) / told.seeds:13.1f}"
            f"{statistics.mean(cost.hiding_s for cost in costs):10.1f}"
        )
        sys.stdout.flush()
        return [change for cost in costs for change in cost.changes]

    clip = {"clip_norm": statistics.median(show("none", {}))}
    show("bfv", {"encryption": "bfv"})
    show(f"clip {clip['clip_norm']:.3g}", clip)
    for noise in NOISES:
        show(f"clip + noise {noise:g}", {**clip, "noise_multiplier": noise})


if __name__ == "__main__":
    main()
