"""What a flow is compared with: a Gaussian, and its place in a generator's files."""

import json
from pathlib import Path

import pytest
import torch

from sitesynth import seeds
from sitesynth.errors import SettingsError
from sitesynth.generators.bundle import read_bundle
from sitesynth.generators.card import describe_card
from sitesynth.generators.denoiser import Conditions, Denoiser
from sitesynth.generators.generator import Generator, latent_shape
from sitesynth.generators.rivals import Gan, Gaussian, VariantName, as_variant
from sitesynth.sampling import Solver, draw_noise, sample_images
from tests.unit.generators import tiny_latents
from tests.unit.tiny_models import tiny_generator, write_tiny_bundle


SHAPE = (2, 4, 3)


def fitted() -> tuple[Gaussian, torch.Tensor, torch.Tensor]:
    """Return a Gaussian, and what it was fitted on: two classes, smooth along the first axis."""
    rng = seeds.generator(0, "smooth")
    rough = torch.randn(600, 2, 5, 3, generator=rng)
    labels = torch.arange(600) % 2
    data = rough[:, :, 1:] + rough[:, :, :-1] + labels.reshape(-1, 1, 1, 1)
    latents = tiny_latents.two_heaps(SHAPE, num_scans=600, seed=0)
    flow = tiny_latents.untrained(SHAPE, latents, labels)
    flow.fit_gaussian(data, labels)
    return Gaussian(flow), data, labels


def draw(gaussian: Gaussian, label: int, count: int = 6000) -> torch.Tensor:
    noise = torch.randn(count, *SHAPE, generator=seeds.generator(1, "noise"))
    some = Conditions(torch.full((count,), label), torch.ones(count, 2, dtype=torch.bool))
    drawn: torch.Tensor = gaussian(noise, some)
    return drawn


@pytest.mark.parametrize("label", [0, 1])
def test_a_gaussians_draws_have_its_mean_and_covariance(label: int) -> None:
    """The mean of their class; by frequency the fitted spread, and nothing between frequencies."""
    gaussian, _, _ = fitted()
    drawn = draw(gaussian, label).flatten(1)
    # Each axis' cosine basis, as one orthogonal matrix over all numbers of a sample.
    first, second = gaussian.bases
    basis = torch.block_diag(*[torch.kron(first, second)] * 2)
    covariance = basis.T @ torch.diag(gaussian.spread.flatten().square()) @ basis

    torch.testing.assert_close(drawn.mean(0), gaussian.mean[label + 1].flatten(), atol=0.1, rtol=0)
    torch.testing.assert_close(torch.cov(drawn.T), covariance, atol=0.2, rtol=0)


def test_a_gaussian_learns_what_scans_share() -> None:
    """Sums of neighbours: variance 2, covariance 1 between neighbours, classes a unit apart.

    The cosine transform takes latents for mirrored at their edge, so neighbours are told to 0.35.
    """
    gaussian, _, _ = fitted()
    drawn = draw(gaussian, 1)
    centred = drawn - drawn.mean(dim=0)

    assert float(centred.square().mean()) == pytest.approx(2.0, abs=0.15)
    beside = (centred[:, :, 1:] * centred[:, :, :-1]).mean()
    assert float(beside) == pytest.approx(1.0, abs=0.35)
    assert float(drawn.mean() - draw(gaussian, 0).mean()) == pytest.approx(1.0, abs=0.1)


def test_whitening_undoes_drawing() -> None:
    """Noise to latents and back."""
    gaussian, data, labels = fitted()
    some = Conditions(labels, torch.ones(600, 2, dtype=torch.bool))

    torch.testing.assert_close(
        gaussian(gaussian.whiten(data, some), some), data, atol=1e-4, rtol=1e-4
    )


def test_the_flow_without_training_leads_where_its_gaussian_draws() -> None:
    """Heun's method in 50 steps, from the same noise: the Gaussian is the flow's own start."""
    latents = tiny_latents.two_heaps(SHAPE, num_scans=20, seed=0)
    flow = tiny_latents.untrained(SHAPE, latents, torch.arange(20) % 2).eval()
    noise = torch.randn(3, *SHAPE, generator=seeds.generator(1, "noise"))
    some = Conditions(torch.tensor([0, 1, -1]), torch.ones(3, 2, dtype=torch.bool))
    solver = Solver("heun", 50, 1.0, (0.0, 1.0))

    from sitesynth.sampling import _follow  # noqa: PLC0415

    with torch.no_grad():
        led = _follow(flow, noise[:, None], some, solver)
    torch.testing.assert_close(led, Gaussian(flow)(noise, some), atol=0.05, rtol=0)


def variant(name: VariantName) -> Generator:
    """Return the tiny generator, its flow replaced."""
    made = tiny_generator((8, 8))
    assert isinstance(made.flow, Denoiser)
    config = made.config.model_copy(update={"variant": name})
    return Generator(config, made.autoencoder, as_variant(made.flow, name).eval())


@pytest.mark.parametrize(("name", "kind"), [("gan", Gan), ("gaussian", Gaussian)])
def test_a_bundle_brings_back_its_variant(tmp_path: Path, name: VariantName, kind: type) -> None:
    """Same draws before and after; weights that are not the variant's are refused elsewhere."""
    made = variant(name)
    found = read_bundle(write_tiny_bundle(tmp_path / "bundle", made))
    solver = Solver("sde", 2, 1.0, (0.0, 1.0))
    noise = draw_noise(
        range(2), latent_shape(made.config), solver=solver, seed=1, site="alder", name="mutant"
    )

    assert isinstance(found.flow, kind)
    assert torch.equal(
        sample_images(made, noise, [0, 1], solver=solver),
        sample_images(found, noise, [0, 1], solver=solver),
    )


def test_a_flows_config_is_what_it_was_before_there_was_a_choice(tmp_path: Path) -> None:
    """Bundles that were signed before stay valid, and new ones of a flow are the same bytes."""
    write_tiny_bundle(tmp_path / "flow", tiny_generator((8, 8)))
    write_tiny_bundle(tmp_path / "gan", variant("gan"))
    flow, gan = (json.loads((tmp_path / f / "config.json").read_text()) for f in ("flow", "gan"))

    assert set(gan) - set(flow) == {"variant"}
    assert not {"variant", "latents_source"} & set(flow)


@pytest.mark.parametrize("name", ["gan", "gaussian"])
def test_what_draws_in_one_pass_cannot_be_guided(name: VariantName) -> None:
    """It says so, and what guidance has to be."""
    made = variant(name)
    solver = Solver("euler", 2, 2.0, (0.0, 1.0))
    noise = draw_noise(
        range(1), latent_shape(made.config), solver=solver, seed=1, site="alder", name="mutant"
    )

    with pytest.raises(SettingsError, match=rf"alder is a {name}.*must be 1, not 2\."):
        sample_images(made, noise, [0], solver=solver)


@pytest.mark.parametrize("name", ["gan", "gaussian"])
def test_a_sidecar_says_that_no_solver_applies(name: VariantName) -> None:
    """Not the study's sampler, which was not used."""
    solver = Solver("euler", 2, 1.0, (0.0, 1.0))
    told = solver.told_for(variant(name).config)

    assert set(told) == set(solver.told_for(tiny_generator((8, 8)).config))
    assert set(told.values()) == {f"not applicable: a {name} draws in one pass"}


def test_a_card_says_what_it_is_of() -> None:
    """A baseline is called one, and phantoms are named where they stand in for patients."""
    card = {
        "site": "alder",
        "training": {
            "patients": 2,
            "scans": 2,
            "scans_per_class": {},
            "scans_of_unknown_class": 0,
        },
        "privacy": {},
        "signature": "",
    }
    plain = describe_card(card, tiny_generator((8, 8)).config)
    config = variant("gan").config.model_copy(update={"latents_source": "phantom"})
    other = describe_card(card, config)

    assert "rectified flow" in plain
    assert "phantom" not in plain
    assert "baseline" in other
    assert "WGAN-GP" in other
    assert "nobody's scans" in other
