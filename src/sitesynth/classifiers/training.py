"""Training one classifier on one pool of scans, and judging it on held-out ones.

Every batch is balanced: each scan is drawn by first drawing a stratum, a (site, origin, class)
triple, and then a scan of it. So no site and no class outweighs another, whatever their sizes, and
the classifier learns posteriors under equal prevalence. Where a mix says how many synthetic scans
of each site to learn from (`strategies.mixes`), a site counts by its number of them; classes still
count alike.

Axes: n = scans, s = sequences, then the grid.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor, nn

from sitesynth import seeds
from sitesynth.errors import TrainingError
from sitesynth.images import ImageSet
from sitesynth.patterns import are_side_by_side
from sitesynth.settings import ClassifierSettings
from sitesynth.tracking import OnStep
from sitesynth.training import autocast, train


__all__ = [
    "NOTHING",
    "Examples",
    "ValidationScore",
    "Validator",
    "augment",
    "balance",
    "check_findings",
    "choose_threshold",
    "classification_loss",
    "draw_noise",
    "draw_weighted",
    "examples_of",
    "move",
    "pool_scores",
    "predict",
    "score",
    "score_findings",
    "score_probabilities",
    "stress_of",
    "thresholds",
    "train_on",
]

PREDICT_BATCH = 16
MAX_SHIFT = 2
MAX_GAIN = 0.15
MAX_LOG_GAMMA = 0.4
MAX_NOISE = 0.06
NOTHING = 1e-8
"""What an empty voxel counts as where contrast is changed."""
NUM_THRESHOLDS = 19


@final
@dataclass(frozen=True)
class Examples:
    """Labelled scans in memory, ready to draw from."""

    images: Float[Tensor, "n s ..."]
    presence: Bool[Tensor, "n s"]
    labels: Int[Tensor, "n ..."]
    """Class numbers; of findings, told side by side, 1, 0 or -1 (unknown) for each."""
    weights: Float64[Tensor, " n"]
    """How often each scan is drawn, in proportion to the others."""

    def __len__(self) -> int:
        """Return the number of scans."""
        return len(self.labels)


def examples_of(
    sets: Sequence[ImageSet], *, label: str, classes: Sequence[str], origins: Sequence[str]
) -> Examples:
    """Load the labelled scans of some image sets, without their masks.

    Args:
        sets: Image sets on one grid; scans of unknown label are left out.
        label: The label column.
        classes: Its classes, in order.
        origins: One word per set, e.g. real or synthetic, that separates strata.

    Raises:
        TrainingError: If a class has no scan at all. Of findings, that is asked of all sites
            together, by `check_findings`.
    """
    images, presence, labels, names = [], [], [], []
    for images_of_set, origin in zip(sets, origins, strict=True):
        known = images_of_set.labelled(label)
        sequences = len(known.sequences)
        images.append(known.load(range(len(known)))[:, :sequences])
        presence.append(known.presence[:, :sequences])
        is_side_by_side = are_side_by_side(label)
        labels.append(known.findings(classes) if is_side_by_side else known.labels(label, classes))
        names += [
            (site, origin, "" if is_side_by_side else cell)
            for site, cell in zip(known.table["site"], known.table[label], strict=True)
        ]
    found = torch.cat(labels)
    absent = [name for number, name in enumerate(classes) if not (found == number).any()]
    if absent and not are_side_by_side(label):
        raise TrainingError(
            f"none of the {len(found)} scans to learn from is labelled {label} = {absent}; "
            "a classifier needs scans of every class."
        )
    if not len(found):
        raise TrainingError(
            f"of no scan any of {list(classes)} is known, to learn from or to choose with; a "
            "training site needs both: raise split.validation_fraction, or give its labels."
        )
    numbers = {name: number for number, name in enumerate(sorted(set(names)))}
    weights = balance(torch.tensor([numbers[name] for name in names]))
    return Examples(torch.cat(images), torch.cat(presence), found, weights)


def check_findings(sets: Sequence[Examples], names: Sequence[str]) -> None:
    """Refuse findings that nobody has among the scans to learn from, or that all have.

    Raises:
        TrainingError: Names the first such finding.
    """
    known = torch.cat([examples.labels for examples in sets])
    for number, name in enumerate(names):
        for flag, word in enumerate(("without", "with")):
            if not (known[:, number] == flag).any():
                raise TrainingError(
                    f"none of the {len(known)} scans to learn from is one {word} {name}; a "
                    f"classifier needs both. Take {name} out of the cohort's findings, or add "
                    "sites where both occur (a bundle tells patterns of five patients at least)."
                )


def stress_of(examples: Examples) -> Float[Tensor, "2 k"]:
    """Return what a scan's loss counts by, for each finding: row 0 without it, row 1 with it.

    With and without count alike, as classes do that are drawn alike, and one on average; a finding
    that all or none have says nothing, and counts 0.
    """
    weights = examples.weights[:, None]
    sums = torch.stack([(weights * (examples.labels == flag)).sum(dim=0) for flag in (0, 1)])
    stress = sums.sum(dim=0) / (2 * sums)
    return torch.where((sums > 0).all(dim=0), stress, 0.0).float()


def classification_loss(
    logits: Float[Tensor, "n k"], labels: Int[Tensor, "n ..."], stress: Float[Tensor, "2 k"] | None
) -> Tensor:
    """Return the log loss: of one class of several or, with `stress`, of each finding alone.

    What is not known of a scan adds nothing.
    """
    if stress is None:
        return nn.functional.cross_entropy(logits, labels)
    losses = nn.functional.binary_cross_entropy_with_logits(
        logits, labels.clamp_min(0).float(), reduction="none"
    )
    counts = torch.where(labels == 1, stress[1], stress[0]) * (labels >= 0)
    return (losses * counts).mean()


def balance(strata: Int[Tensor, " n"]) -> Float64[Tensor, " n"]:
    """Return the weights by which every stratum, given by its number, is drawn alike."""
    return 1.0 / strata.bincount()[strata].double()


def draw_weighted(weights: Float64[Tensor, " n"], count: int, *, rng: torch.Generator) -> Tensor:
    """Draw the indices of `count` scans, with replacement."""
    return torch.multinomial(weights, count, replacement=True, generator=rng)


def augment(
    images: Float[Tensor, "n s ..."],
    presence: Bool[Tensor, "n s"],
    *,
    sequence_dropout: float,
    rng: torch.Generator,
) -> Float[Tensor, "n s ..."]:
    """Mirror, shift, change contrast and gain, add noise, hide sequences: each scan in its own way.

    Args:
        images: Scans whose missing sequences are zero.
        presence: Which sequences each scan has.
        sequence_dropout: Probability that a present sequence is hidden; never the last one.
        rng: Source of every choice.
    """
    count, sequences = presence.shape
    dims = images.ndim - 2
    shape = (count, sequences, *([1] * dims))
    mirrored = torch.rand(count, generator=rng) < 0.5  # noqa: PLR2004
    shifts = torch.randint(-MAX_SHIFT, MAX_SHIFT + 1, (count, dims), generator=rng)
    gain = 1 + MAX_GAIN * (2 * torch.rand(shape, generator=rng) - 1)
    gamma = (MAX_LOG_GAMMA * (2 * torch.rand(shape, generator=rng) - 1)).exp()
    sigma = MAX_NOISE * torch.rand((count, *([1] * (dims + 1))), generator=rng)
    shown = presence & (torch.rand(presence.shape, generator=rng) >= sequence_dropout)
    shown = torch.where(shown.any(dim=1, keepdim=True), shown, presence)
    changed = move(images, mirrored.tolist(), shifts.tolist())
    # A power by its logarithm takes a quarter of the time, if no logarithm is infinite.
    changed = changed.clamp_min_(NOTHING).log_().mul_(gamma).exp_().mul_(gain)
    return changed.add_(draw_noise(images.shape, rng=rng).mul_(sigma)).mul_(shown.reshape(shape))


def move(
    images: Float[Tensor, "n s ..."], mirrored: Sequence[bool], shifts: Sequence[Sequence[int]]
) -> Float[Tensor, "n s ..."]:
    """Return scans mirrored and shifted; what comes from beyond the grid is zero."""
    moved = torch.zeros_like(images)
    for scan, place, is_mirrored, shift in zip(images, moved, mirrored, shifts, strict=True):
        sizes = list(zip(scan.shape[1:], shift, strict=True))
        there = [slice(max(by, 0), size + min(by, 0)) for size, by in sizes]
        here = [slice(max(-by, 0), size - max(by, 0)) for size, by in sizes]
        source = scan.flip(1) if is_mirrored else scan
        place[(slice(None), *here)] = source[(slice(None), *there)]
    return moved


def draw_noise(shape: Sequence[int], *, rng: torch.Generator) -> Float[Tensor, "..."]:
    """Draw numbers of mean 0 and standard deviation 1, uniform ones: random bytes.

    Normal ones take five times as long, which was a tenth of a classifier's training.
    """
    count = math.prod(shape)
    eights = torch.empty(-(-count // 8), dtype=torch.int64).random_(-(2**63), None, generator=rng)
    # The mean of whole numbers from -128 to 127 is -1/2.
    return eights.view(torch.int8)[:count].reshape(shape).float().add_(0.5).mul_(12**0.5 / 256)


def train_on(
    model: nn.Module,
    examples: Examples,
    *,
    settings: ClassifierSettings,
    scope: Sequence[str | int],
    seed: int,
    num_steps: int,
    penalty: Callable[[], Tensor] | None = None,
    on_step: OnStep = lambda step, losses: None,
) -> None:
    """Train a classifier in place on one pool of scans.

    Args:
        model: The classifier, on its device.
        examples: What to learn from.
        settings: The `classifier` section of params.yaml.
        scope: Words that name this training's randomness.
        seed: Root seed of the study.
        num_steps: Optimizer steps.
        penalty: Computes what is added to the loss.
        on_step: Told each step's loss.

    Raises:
        TrainingError: If the loss diverges.
    """
    device = next(model.parameters()).device
    stress = stress_of(examples).to(device) if examples.labels.ndim > 1 else None

    def losses_at(step: int) -> dict[str, Tensor]:
        rng = seeds.generator(seed, *scope, "step", step)
        chosen = draw_weighted(examples.weights, settings.batch_size, rng=rng)
        batch = augment(
            examples.images[chosen],
            examples.presence[chosen],
            sequence_dropout=settings.sequence_dropout,
            rng=rng,
        )
        with autocast(device):
            logits = model(batch.to(device))
        loss = classification_loss(logits.float(), examples.labels[chosen].to(device), stress)
        return {"loss": loss if penalty is None else loss + penalty()}

    train(
        model,
        losses_at,
        num_steps=num_steps,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        on_step=on_step,
    )


@torch.no_grad()
def predict(
    model: nn.Module, images: Float[Tensor, "n s ..."], *, side_by_side: bool = False
) -> Float[Tensor, "n classes"]:
    """Return probabilities, a few scans at a time: of classes, or of findings side by side."""
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    parts = []
    for start in range(0, len(images), PREDICT_BATCH):
        logits = model(images[start : start + PREDICT_BATCH].to(device)).float()
        parts.append((logits.sigmoid() if side_by_side else logits.softmax(dim=1)).cpu())
    model.train(was_training)
    return torch.cat(parts) if parts else torch.zeros((0, 0))


@final
@dataclass(frozen=True)
class ValidationScore:
    """What a site tells about a model after trying it on its own held-out scans: sums, no scan."""

    loss_sum: float
    """Sum of the log losses, each weighted so that the site's classes count alike."""
    weight_sum: float
    num_scans: int
    hits: tuple[tuple[int, int], ...]
    """At each of `thresholds()`: positives at or above it, negatives below it; empty where every
    class is predicted, and so none is positive."""
    positives: int
    negatives: int

    @property
    def loss(self) -> float:
        """Mean log loss, classes counting alike."""
        return self.loss_sum / self.weight_sum


def thresholds() -> list[float]:
    """Return the probabilities at which sites count hits: 0.05, 0.10, ... 0.95."""
    return [(step + 1) / (NUM_THRESHOLDS + 1) for step in range(NUM_THRESHOLDS)]


def score(
    models: Sequence[nn.Module], held_out: Examples, *, positive: int | None
) -> ValidationScore:
    """Try models on held-out scans of one site: one alone, or the mean of what several predict.

    Args:
        models: What to try, together.
        held_out: The scans.
        positive: Number of the positive class; None where every class is predicted.
    """
    if held_out.labels.ndim > 1:
        each = [predict(model, held_out.images, side_by_side=True) for model in models]
        return score_findings(torch.stack(each).mean(dim=0), held_out.labels)
    if len(models) == 1:
        probabilities = predict(models[0], held_out.images)
    elif positive is None:
        probabilities = torch.stack([predict(m, held_out.images) for m in models]).mean(dim=0)
    else:
        each = [predict(model, held_out.images)[:, positive] for model in models]
        chance = torch.stack(each).mean(dim=0)
        both = [1 - chance, chance] if positive == 1 else [chance, 1 - chance]
        probabilities = torch.stack(both, dim=1)
    return score_probabilities(probabilities, held_out.labels, positive=positive)


def score_probabilities(
    probabilities: Float[Tensor, "n classes"], labels: Int[Tensor, " n"], *, positive: int | None
) -> ValidationScore:
    """Sum up predictions of one site's held-out scans; hits are of the positive class, if any."""
    picked = probabilities[torch.arange(len(labels)), labels].clamp_min(1e-6).double()
    counts = labels.bincount(minlength=probabilities.shape[1])
    weights = 1.0 / counts[labels].double()
    hits: tuple[tuple[int, int], ...] = ()
    positives = negatives = 0
    if positive is not None:
        is_positive = labels == positive
        chance = probabilities[:, positive]
        hits = tuple(
            (int((chance[is_positive] >= cut).sum()), int((chance[~is_positive] < cut).sum()))
            for cut in thresholds()
        )
        positives, negatives = int(is_positive.sum()), int((~is_positive).sum())
    return ValidationScore(
        loss_sum=float((-picked.log() * weights).sum()),
        weight_sum=float(weights.sum()),
        num_scans=len(labels),
        hits=hits,
        positives=positives,
        negatives=negatives,
    )


def score_findings(
    probabilities: Float[Tensor, "n k"], labels: Int[Tensor, "n k"]
) -> ValidationScore:
    """Sum up predictions of findings: their mean loss, with and without each counting alike.

    A finding that all or none of the site's held-out scans have has a loss of its one side.
    """
    chances = torch.where(labels == 1, probabilities, 1 - probabilities).clamp_min(1e-6).double()
    loss_sum = weight_sum = 0.0
    for flag in (0, 1):
        inside = labels == flag
        counts = inside.sum(dim=0)
        sums = (-chances.log() * inside).sum(dim=0)
        loss_sum += float((sums / counts.clamp_min(1)).sum())
        weight_sum += float((counts > 0).sum())
    return ValidationScore(loss_sum, weight_sum, len(labels), (), 0, 0)


def pool_scores(scores: Sequence[ValidationScore]) -> ValidationScore:
    """Add up the scores of several sites, each weighted by its number of scans."""
    return ValidationScore(
        loss_sum=math.fsum(score.loss * score.num_scans for score in scores),
        weight_sum=float(sum(score.num_scans for score in scores)),
        num_scans=sum(score.num_scans for score in scores),
        hits=tuple(
            (sum(pair[0] for pair in at), sum(pair[1] for pair in at))
            for at in zip(*(score.hits for score in scores), strict=True)
        ),
        positives=sum(score.positives for score in scores),
        negatives=sum(score.negatives for score in scores),
    )


def choose_threshold(pooled: ValidationScore) -> float | None:
    """Return the threshold of best balanced accuracy; of several, the one nearest to 0.5.

    None where every class is predicted: classes are drawn alike in training, so the most probable
    one is the call of best balanced accuracy, if probabilities are right.
    """
    if not pooled.hits:
        return None
    best = [
        (above / pooled.positives + below / pooled.negatives, -abs(cut - 0.5), cut)
        for (above, below), cut in zip(pooled.hits, thresholds(), strict=True)
    ]
    return max(best)[2]


Validator = Callable[[Sequence[nn.Module]], ValidationScore]
"""A site's offer to try models, together, on its held-out scans and to tell sums only."""
