"""A flow that is told covariates: it follows them, and is the flow it was where it is told none."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sitesynth import seeds, training
from sitesynth.generators.covariates import Covariates
from sitesynth.generators.denoiser import Conditions, Denoiser
from sitesynth.generators.diffusion import train_flow
from sitesynth.generators.generator import Generator
from sitesynth.generators.latents import Latents, LatentScale
from sitesynth.images import ImageSet, read_images, write_index, write_voxels
from sitesynth.sampling import Solver, covariates_of, draw_scans
from sitesynth.settings import DiffusionSettings
from tests.unit.generators.tiny_generator import train_tiny


SHAPE = (2, 2, 2)
SETTINGS = DiffusionSettings(
    schedule="straight",
    patch=(1, 1),
    width=32,
    depth=1,
    convolutions=None,
    sizes=(),
    components=2,
    detail=0.5,
    num_views=2,
    warp=0.0,
    covariates=("age", "sex"),
    dp=None,
    label_score=False,
    condition_dropout=0.1,
    ema_decay=0.9,
    learning_rate=1e-2,
    batch_size=16,
    num_steps=3,
    validate_every=None,
    patience_looks=None,
)
COVARIATES = Covariates.model_validate(
    {
        "columns": [
            {"kind": "number", "name": "age", "mean": 50.0, "std": 10.0, "bounds": None},
            {"kind": "category", "name": "sex", "categories": ["F", "M"]},
        ],
        "cells": [[{"patients": 30, "told": [{"mean": 50.0, "std": 10.0}, None]}]] * 2,
    }
)
NAN = float("nan")


def flow(covariates: Covariates | None = COVARIATES) -> Denoiser:
    with seeds.isolated(seeds.generator(0, "flow")):
        return Denoiser(
            SETTINGS, latent_shape=SHAPE, num_classes=2, num_channels=1, covariates=covariates
        ).eval()


def conditions(*covariates: list[float]) -> Conditions:
    count = len(covariates)
    return Conditions(
        torch.ones(count, dtype=torch.long),
        torch.ones(count, 1, dtype=torch.bool),
        torch.tensor(covariates),
    )


def test_without_covariates_nothing_is_there_and_with_them_the_rest_starts_the_same() -> None:
    """What is drawn for them comes last, so that no other weight can tell."""
    plain, told = flow(None).state_dict(), flow().state_dict()

    assert not [name for name in plain if "covariate" in name or name == "slopes"]
    assert set(told) - set(plain) == {
        "slopes",
        "network.covariates.0.rows.weight",
        "network.covariates.0.curve.0.bias",
        "network.covariates.0.curve.0.weight",
        "network.covariates.0.curve.2.bias",
        "network.covariates.0.curve.2.weight",
        "network.covariates.1.rows.weight",
    }
    for name, value in plain.items():
        assert torch.equal(value, told[name]), name


@torch.no_grad()
def test_each_covariate_reaches_the_networks_output() -> None:
    """Age, sex, and not knowing either, each change what an awakened network says."""
    network = flow().network
    with seeds.isolated(seeds.generator(0, "awake")):
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    values = torch.tensor([[0.0, 0.0], [0.1, 0.0], [0.0, 1.0], [NAN, 0.0], [0.0, NAN], [NAN, NAN]])
    count = len(values)
    told = (torch.full((count,), 0.3), torch.zeros(count, dtype=torch.long))
    channels, *grid = SHAPE
    # Noisy latents, and two hints.
    shape = (3 * channels, *grid)
    x = torch.randn(1, *shape, generator=seeds.generator(0, "x")).expand(count, *shape)
    said = network(x, *told, torch.ones(count, 1, dtype=torch.bool), values)
    untold = network(x, *told, torch.ones(count, 1, dtype=torch.bool))

    for one in range(count):
        for other in range(one):
            assert not torch.allclose(said[one], said[other], atol=1e-4), (one, other)
    torch.testing.assert_close(untold[0], said[-1])


def test_condition_dropout_hides_labels_and_covariates_apart() -> None:
    """At 0.25 each, all four ways for age to be told or not occur as often as they should."""
    many = conditions(*[[1.0, 0.0]] * 8000)
    rng = seeds.generator(0, "hide")
    hidden = many.hide_labels(probability=0.25, rng=rng).hide_covariates(probability=0.25, rng=rng)

    assert hidden.covariates is not None
    no_label, no_age = hidden.labels == -1, hidden.covariates[:, 0].isnan()
    assert abs(float((no_label & no_age).float().mean()) - 1 / 16) < 0.01
    assert abs(float((~no_label & no_age).float().mean()) - 3 / 16) < 0.015
    assert abs(float(hidden.covariates[:, 1].isnan().float().mean()) - 1 / 4) < 0.02


def test_the_gaussian_finds_planted_slopes() -> None:
    """Latents rise by 2 per deviation of age and by 1 from F to M; the ridge keeps 1 - 10/n of it.

    Scans whose age or sex is unknown stay at their class's mean.
    """
    rng = seeds.generator(0, "planted")
    count = 4000
    values = torch.stack(
        [torch.randn(count, generator=rng), (torch.rand(count, generator=rng) < 0.5).float()], dim=1
    )
    noise = 0.1 * torch.randn(count, *SHAPE, generator=rng)
    latents = 2 * values[:, 0, None, None, None] + values[:, 1, None, None, None] + noise
    model = flow()
    model.fit_gaussian(latents, torch.zeros(count, dtype=torch.long), values)

    slopes = model.slopes.flatten(1).mean(dim=1)
    assert abs(float(slopes[0]) - 2) < 0.02
    assert abs(float(slopes[2] - slopes[1]) - 1) < 0.02
    assert abs(float(model.spread.mean()) - 0.1) < 0.01


def test_views_of_one_scan_are_one_scan_to_the_ridge() -> None:
    """Ten scans weigh as much as the prior, so half of the slope is left, however many views."""
    age = torch.tensor([1.0, -1.0] * 5)
    values = torch.stack([age, torch.full((10,), NAN)], dim=1)
    for views in (1, 6):
        model = flow()
        latents = age.repeat_interleave(views)[:, None, None, None].expand(-1, *SHAPE)
        model.fit_gaussian(
            latents,
            torch.zeros(10 * views, dtype=torch.long),
            values.repeat_interleave(views, dim=0),
            num_views=views,
        )
        torch.testing.assert_close(model.slopes[0], torch.full(SHAPE, 0.5))


def planted(count: int = 40) -> tuple[Latents, Tensor]:
    """Return scans whose latents are high where a bend in age says so, and their covariates."""
    rng = seeds.generator(0, "bend")
    values = torch.stack([torch.linspace(-1.5, 1.5, count), torch.full((count,), NAN)], dim=1)
    mean = (2 * values[:, 0].abs() - 1.5)[:, None, None, None].expand(-1, *SHAPE)
    mean = mean + 0.2 * torch.randn(count, *SHAPE, generator=rng)
    mean = mean[:, None].expand(-1, 2, *SHAPE).contiguous()
    return Latents(mean, torch.zeros_like(mean), torch.ones(count, 1, dtype=torch.bool)), values


def trained(num_steps: int, *, checkpoint: Path | None = None, stop_at: int = 0) -> Denoiser:
    def stop(step: int, losses: object) -> None:
        if step == stop_at:
            raise KeyboardInterrupt

    latents, values = planted()
    return train_flow(
        latents,
        torch.zeros(len(values), dtype=torch.long),
        LatentScale((0.0, 0.0), 1.0),
        settings=SETTINGS.model_copy(update={"num_steps": num_steps}),
        num_classes=2,
        seed=0,
        site="alder",
        covariates=COVARIATES,
        values=values,
        checkpoint=checkpoint,
        on_step=stop,
    )


def test_the_network_learns_what_no_line_can_say() -> None:
    """Both the young and the old are high, so slopes say nothing.

    From pure noise the velocity is the noise minus the mean of what is asked for: 1.5 at both ends,
    -1.5 in the middle.
    """
    model = trained(150)
    asked = conditions([-1.5, NAN], [0.0, NAN], [1.5, NAN])
    asked = replace(asked, labels=torch.zeros(3, dtype=torch.long))
    noise = torch.randn(64, 1, *SHAPE, generator=seeds.generator(0, "noise"))
    with torch.no_grad():
        says = [x - model(x.expand(3, *SHAPE), torch.ones(3), asked) for x in noise]
    young, middle, old = torch.stack(says).mean(dim=(0, 2, 3, 4)).tolist()

    assert young == pytest.approx(1.5, abs=0.5)
    assert middle == pytest.approx(-1.5, abs=0.5)
    assert old == pytest.approx(1.5, abs=0.5)


def test_a_killed_training_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Embeddings and hidden covariates included: bit for bit."""
    monkeypatch.setattr(training, "CHECKPOINT_EVERY_S", 0.0)
    straight = trained(8).state_dict()
    with pytest.raises(KeyboardInterrupt):
        trained(8, checkpoint=tmp_path / "state", stop_at=5)
    resumed = trained(8, checkpoint=tmp_path / "state").state_dict()

    for name, value in straight.items():
        assert torch.equal(value, resumed[name]), name


def brightening(folder: Path) -> ImageSet:
    """Write 40 scans that are brighter by 0.01 a year, of patients of 30 to 69."""
    rng = seeds.numpy_generator(0, "brightening")
    rows = []
    for number in range(40):
        scan = f"p{number:02d}"
        voxels = 0.01 * (number + 10) + 0.02 * rng.standard_normal((1, 8, 8))
        write_voxels(folder, scan, voxels)
        rows.append(
            {"scan_id": scan, "patient_id": scan, "site": "alder", "has_t1": "true"}
            | {"split": "validation" if number % 5 == 0 else "train"}
            | {"idh": ("wildtype", "mutant")[number % 2], "age": str(number + 30)}
        )
    write_index(folder, channels=("t1",), grid=(8, 8), rows=rows, about={})
    return read_images(folder)


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Generator:
    """Return a generator of scans whose brightness tells the age."""
    return train_tiny(
        brightening(tmp_path_factory.mktemp("images")),
        SETTINGS.model_copy(update={"covariates": ("age",)}),
        bounds={"age": (0.0, 120.0)},
    )


def test_samples_follow_the_age_that_is_asked_for(generator: Generator) -> None:
    """30 years are 0.3 of the range; the ridge takes a quarter of that at most."""
    brightness = {}
    for age in ("35", "65"):
        told = covariates_of(generator, "mutant", range(16), seed=0, asked={"age": age})
        scans = draw_scans(
            generator,
            "mutant",
            range(16),
            seed=0,
            solver=Solver("heun", 8, 1.0, (0.0, 1.0)),
            covariates=told,
        )
        brightness[age] = float(np.asarray(scans).mean())

    assert 0.2 < brightness["65"] - brightness["35"] < 0.34
