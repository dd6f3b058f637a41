"""From a generator bundle to synthetic scans.

A synthetic scan is identified by (seed, site, class, index). Its noise comes from those words
alone, so scan 17 is the same scan in any batch, in any order, and after any interruption (to the
last digits of floating-point sums, which depend on the batch's size).

Axes: n = scans, d = draws of noise, c = channels, k = latent channels, v = covariates, then the
grid.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sitesynth import seeds
from sitesynth.errors import SettingsError
from sitesynth.generators.correction import correct
from sitesynth.generators.denoiser import Conditions, Denoiser
from sitesynth.generators.draws import draw_covariates
from sitesynth.generators.generator import Generator, GeneratorConfig, latent_shape
from sitesynth.generators.samplers import SamplerName, follow, guided, num_draws, time_grid
from sitesynth.images import MASK, write_index, write_voxels
from sitesynth.patterns import apportion, had, spread_evenly
from sitesynth.settings import PRESENCE, SamplingSettings
from sitesynth.storage import read_json, write_json
from sitesynth.threads import in_order
from sitesynth.training import best_device


__all__ = [
    "NOTHING",
    "Solver",
    "counts_of",
    "covariates_of",
    "draw_noise",
    "draw_scans",
    "sample_images",
    "scan_name",
    "told_of",
    "write_samples",
]

MASK_THRESHOLD = 0.5

REVERSE_DIFFUSION = 1.0
"""The eta of the reverse diffusion."""

NOTHING: Mapping[str, str] = MappingProxyType({})
"""What is asked for where nothing in particular is."""


@final
@dataclass(frozen=True)
class Solver:
    """How noise becomes latents; see `SamplingSettings` for what each field means."""

    sampler: SamplerName
    num_steps: int
    guidance: float
    guidance_interval: tuple[float, float]
    eta: float = 0.0
    eta_interval: tuple[float, float] = (0.0, 1.0)

    @classmethod
    def of(cls, settings: SamplingSettings) -> "Solver":
        """Return the solver that a study asks for."""
        return cls(
            settings.sampler,
            settings.num_steps,
            settings.guidance,
            settings.guidance_interval,
            settings.eta,
            settings.eta_interval,
        )

    @property
    def num_draws(self) -> int:
        """Draws of noise that a scan takes."""
        return num_draws(self.sampler, num_steps=self.num_steps)

    def guides(self, time: float) -> bool:
        """Return whether the network has to be asked without the label, too, at this time."""
        low, high = self.guidance_interval
        return self.guidance != 1 and low <= time <= high

    def eta_at(self, time: float) -> float:
        """Return how much noise a step that begins at this time draws anew."""
        low, high = self.eta_interval
        return self.eta if low <= time <= high else REVERSE_DIFFUSION

    def told_for(self, config: GeneratorConfig) -> dict[str, object]:
        """Return the solver as a sidecar tells it; a generator that needs none says so."""
        told = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }
        if self.sampler != "sde":
            del told["eta"], told["eta_interval"]
        if config.variant == "flow":
            return told
        return dict.fromkeys(told, f"not applicable: a {config.variant} draws in one pass")


def told_of(covariates: Mapping[str, str]) -> dict[str, object]:
    """Return a scan's covariates as a sidecar tells them, which is silent where there are none."""
    return {"covariates": dict(covariates)} if covariates else {}


def scan_name(site: str, name: str, index: int) -> str:
    """Return what a synthetic scan is called; `name` is its class."""
    return f"{site}-{name}-{index:05d}"


def draw_noise(
    indices: Sequence[int],
    shape: Sequence[int],
    *,
    solver: Solver,
    seed: int,
    site: str,
    name: str,
) -> Float[Tensor, "n d ..."]:
    """Draw all the noise that a solver asks for, for the scans numbered `indices` of one class."""
    rngs = [seeds.generator(seed, "sampling", site, name, index) for index in indices]
    return torch.stack([torch.randn(solver.num_draws, *shape, generator=rng) for rng in rngs])


@torch.no_grad()
def sample_images(
    generator: Generator,
    noise: Float[Tensor, "n d k ..."],
    labels: Sequence[int],
    *,
    covariates: Float[Tensor, "n v"] | None = None,
    presence: Bool[Tensor, "n c"] | None = None,
    solver: Solver,
) -> Float[Tensor, "n c ..."]:
    """Turn noise into scans of the given classes.

    Args:
        generator: The site's generator.
        noise: Standard normal noise on the latent grid, as `draw_noise` draws it.
        labels: A class number per scan; -1 asks for no class in particular.
        covariates: As `Covariates.encode` says them; None asks for none in particular.
        presence: Which channels each scan shall have; None is all. What a channel holds that a
            scan shall not have means nothing.
        solver: How noise becomes latents.

    Returns:
        Scans in [0, 1]; the mask channel is 0 or 1.

    Raises:
        SettingsError: If a generator that draws in one pass is to be guided.
    """
    device = best_device()
    network = generator.flow.to(device)
    conditions = Conditions(
        torch.tensor(labels),
        torch.ones(len(labels), len(generator.config.channels), dtype=torch.bool)
        if presence is None
        else presence,
        covariates,
    ).to(device)
    if isinstance(network, Denoiser):
        latents = _follow(network, noise.to(device), conditions, solver)
    elif solver.guidance == 1:
        latents = network(noise[:, 0].to(device), conditions)
    else:
        raise SettingsError(
            f"the generator of {generator.config.site} is a {generator.config.variant}, which "
            f"draws in one pass and cannot be guided: guidance must be 1, not {solver.guidance:g}."
        )
    decoder = generator.autoencoder.to(device)
    images = decoder.decode(generator.scale.restore(latents)).clamp(0, 1).float().cpu()
    if generator.config.correction is not None:
        images = torch.from_numpy(correct(images.numpy(), generator.config.correction))
    if generator.config.channels[-1] == MASK:
        images[:, -1] = (images[:, -1] > MASK_THRESHOLD).float()
    return images


def _follow(
    network: Denoiser, noise: Float[Tensor, "n d k ..."], conditions: Conditions, solver: Solver
) -> Float[Tensor, "n k ..."]:
    """Follow a flow from noise to latents."""
    both = conditions.with_and_without_labels()

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        if not solver.guides(float(t[0])):
            return network(x, t, conditions)  # type: ignore[no-any-return]
        conditional, unconditional = network(
            x.repeat(2, *[1] * (x.ndim - 1)), t.repeat(2), both
        ).chunk(2)
        return guided(conditional, unconditional, scale=solver.guidance)

    return follow(
        solver.sampler,
        network.schedule,
        velocity,
        noise,
        time_grid(solver.num_steps),
        eta_at=solver.eta_at,
    )


def draw_scans(
    generator: Generator,
    name: str,
    indices: Sequence[int],
    *,
    seed: int,
    solver: Solver,
    covariates: Sequence[Mapping[str, str]] = (),
    presence: Bool[Tensor, "n c"] | None = None,
) -> Float[Tensor, "n c ..."]:
    """Draw the synthetic scans numbered `indices` of one class; see `sample_images`.

    Args:
        generator: The site's generator.
        name: One of its classes.
        indices: Which scans of that class.
        seed: Root seed.
        solver: How noise becomes latents.
        covariates: Those of each, from `covariates_of`; none if the generator knows none.
        presence: Which channels each shall have; None is all.
    """
    config = generator.config
    noise = draw_noise(
        indices, latent_shape(config), solver=solver, seed=seed, site=config.site, name=name
    )
    labels = [config.classes.index(name)] * len(indices)
    told = None
    if config.covariates is not None and covariates:
        told = torch.tensor([config.covariates.encode(words) for words in covariates])
    return sample_images(
        generator, noise, labels, covariates=told, presence=presence, solver=solver
    )


def covariates_of(
    generator: Generator,
    name: str,
    indices: Sequence[int],
    *,
    seed: int,
    asked: Mapping[str, str] = NOTHING,
) -> list[dict[str, str]]:
    """Return the covariates of the synthetic scans numbered `indices` of one class.

    Args:
        generator: The site's generator.
        name: One of its classes.
        indices: Which scans of that class.
        seed: Root seed.
        asked: By covariate, what all of them shall have; see `draws.check_asked`.

    Returns:
        For each scan a word by covariate, "" where unknown; nothing by a generator that knows none.
    """
    config = generator.config
    if config.covariates is None:
        return [{} for _ in indices]
    return [
        draw_covariates(
            config.covariates,
            asked,
            number=config.classes.index(name),
            index=index,
            seed=seed,
            site=config.site,
            name=name,
        )
        for index in indices
    ]


def counts_of(config: GeneratorConfig, *, num_per_class: int) -> list[int]:
    """Return how many scans of each class the hub draws: of each as many.

    Patterns of findings are drawn as they occur at the site, as many in all as there are findings
    in them times `num_per_class`.
    """
    if config.class_counts is None:
        return [num_per_class] * len(config.classes)
    findings = set().union(*(had(name) for name in config.classes))
    return apportion(config.class_counts, num_per_class * max(1, len(findings)))


def write_samples(
    folder: Path,
    generator: Generator,
    *,
    counts: Sequence[int],
    settings: SamplingSettings,
    bundle_digest: str,
    seed: int,
    on_scan: Callable[[int], None] = lambda number: None,
) -> None:
    """Sample an exact number of scans per class into an image set, continuing where it stopped.

    Args:
        folder: The image set to write. Each scan has a JSON sidecar that says where it came from.
        generator: The site's generator.
        counts: Scans per class, in class order.
        settings: The `sampling` section of params.yaml.
        bundle_digest: What names the bundle; see `generators.bundle.bundle_digest`.
        seed: Root seed of the study.
        on_scan: Called after each scan with its number, from 1.
    """
    config, solver, size = generator.config, Solver.of(settings), settings.batch_size
    batches = [
        (name, range(start, min(start + size, count)))
        for name, count in zip(config.classes, counts, strict=True)
        for start in range(0, count, size)
    ]

    def write_batch(batch: tuple[str, range]) -> list[dict[str, str]]:
        """Write the scans of a batch that are not there yet; return their rows of the table."""
        name, wanted = batch
        # A last, smaller batch is padded: sums must not depend on how many scans are wanted.
        indices = range(wanted.start, wanted.start + size)
        covariates = covariates_of(generator, name, indices, seed=seed)
        origin = {
            "bundle": bundle_digest,
            "site": config.site,
            "seed": seed,
            "label": name,
            **solver.told_for(config),
        }
        names = [scan_name(config.site, name, index) for index in wanted]
        origins = [origin | told_of(words) for words in covariates[: len(wanted)]]
        if not all(map(partial(_is_done, folder), names, origins)):
            images = draw_scans(
                generator, name, indices, seed=seed, solver=solver, covariates=covariates
            )
            for scan, index, image, said in zip(names, wanted, images, origins, strict=False):
                write_voxels(folder, scan, np.asarray(image))
                write_json(folder / "sidecars" / f"{scan}.json", {**said, "index": index})
        return [
            {"scan_id": scan, "patient_id": scan, "site": config.site, "split": "train"}
            | {f"{PRESENCE}{channel}": "true" for channel in config.channels}
            | {config.label: name}
            | words
            for scan, words in zip(names, covariates, strict=False)
        ]

    rows: list[dict[str, str]] = []
    for written in in_order(write_batch, batches):
        for row in written:
            rows.append(row)
            on_scan(len(rows))
    if config.class_counts is not None:
        # Mixes take the first scans: in this order, any beginning has the site's patterns.
        rows = [rows[number] for number in spread_evenly(len(rows))]
    _remove_others(folder, {row["scan_id"] for row in rows})
    write_index(
        folder,
        channels=config.channels,
        grid=config.grid,
        rows=rows,
        about={"bundle": bundle_digest, "spacing_mm": config.spacing_mm},
    )


def _is_done(folder: Path, scan: str, origin: dict[str, object]) -> bool:
    """Return whether a scan was sampled by the same bundle with the same settings."""
    sidecar = folder / "sidecars" / f"{scan}.json"
    if not (sidecar.exists() and (folder / "voxels" / f"{scan}.npy").exists()):
        return False
    found = read_json(sidecar)
    return {key: found.get(key) for key in origin} == origin


def _remove_others(folder: Path, scans: set[str]) -> None:
    """Remove what an earlier run with other counts has left."""
    for path in (*folder.glob("voxels/*"), *folder.glob("sidecars/*")):
        if path.stem not in scans:
            path.unlink()
