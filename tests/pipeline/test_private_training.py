"""A flow trained with differential privacy: from the stage that trains it to the card."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from pipelines import assess_privacy, train_diffusion
from sitesynth.generators.card import describe_card, write_card
from sitesynth.generators.generator import GeneratorConfig, read_generator
from sitesynth.generators.latents import SCALE_FILE, LatentScale, write_scale
from sitesynth.images import read_images
from sitesynth.privacy.accounting import epsilon_of
from sitesynth.processes import ALONE
from sitesynth.settings import PrivateTraining, load_settings
from sitesynth.storage import read_json
from sitesynth.tracking import Silent
from tests.pipeline.test_audit_stages import PRIVACY, SAMPLING, write_site


ROOT = Path(__file__).parents[2]
NUM_TRAINING = 12
DP = PrivateTraining(noise_multiplier=2.0, clip_norm=0.5, delta=0.01)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    write_site(folder, "birch")
    return folder


def train(site: Path, folder: Path, **changed: Any) -> GeneratorConfig:
    """Train the flow of the site's config with noise, and audit it; return that config."""
    settings = load_settings(ROOT / "params.yaml")
    config = read_generator(site / "encoder", site / "model").config
    knobs = {"dp": DP, "num_steps": 3, "covariates": ()} | changed
    source = "phantom" if (site / "encoder" / SCALE_FILE).exists() else "own"
    train_diffusion.run(
        site="birch",
        images=site / "images",
        encoder=site / "encoder",
        model=folder / "model",
        labels=settings.cohort.labels,
        task=settings.task,
        grid=settings.grid,
        autoencoder=config.autoencoder,
        latents=settings.latents.model_copy(update={"source": source}),
        diffusion=config.diffusion.model_copy(update=knobs),
        generator=settings.generator,
        compute=settings.compute,
        seed=1,
        processes=ALONE,
        scratch=folder,
        kept=folder / "kept",
        tracked=Silent(),
    )
    assess_privacy.run(
        site="birch",
        images=site / "images",
        encoder=site / "encoder",
        model=folder / "model",
        correction=site / "correction.json",
        audit=folder / "audit.json",
        pairs=folder / "pairs.safetensors",
        sampling=SAMPLING,
        privacy=PRIVACY,
        seed=1,
        tracked=Silent(),
    )
    return config


@pytest.mark.parametrize("secret", [None, "of the site"])
def test_audit_and_card_say_what_epsilon_covers(
    site: Path, secret: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Epsilon is the accountant's for 4 of 12 patients in 3 steps; the bundle has none."""
    if secret is None:
        monkeypatch.delenv("SITESYNTH_NOISE_SECRET", raising=False)
    else:
        monkeypatch.setenv("SITESYNTH_NOISE_SECRET", secret)
    config = train(site, tmp_path)
    audit = read_json(tmp_path / "audit.json")
    found = audit["differential_privacy"]
    expected = epsilon_of(
        noise_multiplier=2.0, sample_rate=4 / NUM_TRAINING, num_steps=3, delta=0.01
    )
    counts = {"patients": 12, "scans": 12, "scans_per_class": {}, "scans_of_unknown_class": 0}
    card = {"site": "alder", "training": counts, "privacy": audit, "signature": "site key"}
    says = describe_card(card, config)

    assert audit["epsilon"] is None
    assert found["flow_epsilon_if_noise_were_secret"] == pytest.approx(expected, abs=1e-6)
    assert (found["flow_epsilon"] is None) == (secret is None)
    assert "Epsilon of the whole: none." in says
    assert f"{expected:.2f} at delta 0.01" in says
    assert ("were the noise secret" in says) == (secret is None)
    assert "It does not cover the autoencoder's weights; the latents' scale" in says


def test_a_bundle_made_of_nobody_has_the_flows_epsilon_and_tells_no_scores(
    site: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With an autoencoder and a scale of phantoms, blind to held-out patients, with a secret."""
    monkeypatch.setenv("SITESYNTH_NOISE_SECRET", "known to the site alone")
    shared = tmp_path / "site"
    shutil.copytree(site, shared)
    scale = LatentScale((0.25, -0.5), 2.0)
    write_scale(shared / "encoder", scale)
    train(shared, tmp_path, validate_every=None)
    audit = read_json(tmp_path / "audit.json")
    config = read_generator(shared / "encoder", tmp_path / "model").config
    card = write_card(
        config,
        read_images(site / "images").in_split("train"),
        losses={"train": {"0.5": 0.1}},
        privacy=audit,
        quality={"kid": 1.0},
        has_own_key=True,
    )
    expected = epsilon_of(
        noise_multiplier=2.0, sample_rate=4 / NUM_TRAINING, num_steps=3, delta=0.01
    )

    assert (config.latent_mean, config.latent_std) == (scale.mean, scale.std)
    assert audit["epsilon"] == pytest.approx(expected, abs=1e-6)
    assert audit["differential_privacy"]["not_covered"] == []
    assert card["flow_losses"] == card["quality"] == {}
    assert set(card["privacy"]) == {"site", "weights", "epsilon", "differential_privacy", "gate"}
    assert set(card["privacy"]["gate"]) == {"verdict"}
    assert f"Epsilon of the whole: {expected:.2f}" in describe_card(card, config)
