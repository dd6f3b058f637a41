"""A flow trained with differential privacy: from the stage that trains it to the card."""

from pathlib import Path

import pytest

from pipelines import assess_privacy, train_diffusion
from sitesynth.generators.card import describe_card
from sitesynth.generators.generator import read_generator
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


@pytest.mark.parametrize("secret", [None, "of the site"])
def test_audit_and_card_say_what_epsilon_covers(
    site: Path, secret: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Epsilon is the accountant's for 4 of 12 patients in 3 steps; the bundle has none."""
    if secret is None:
        monkeypatch.delenv("SITESYNTH_NOISE_SECRET", raising=False)
    else:
        monkeypatch.setenv("SITESYNTH_NOISE_SECRET", secret)
    settings = load_settings(ROOT / "params.yaml")
    config = read_generator(site / "encoder", site / "model").config
    told = config.diffusion.model_copy(update={"dp": DP, "num_steps": 3, "covariates": ()})
    train_diffusion.run(
        site="birch",
        images=site / "images",
        encoder=site / "encoder",
        model=tmp_path / "model",
        cohort=settings.cohort,
        task=settings.task,
        grid=settings.grid,
        autoencoder=config.autoencoder,
        latents=settings.latents,
        diffusion=told,
        generator=settings.generator,
        compute=settings.compute,
        seed=1,
        processes=ALONE,
        scratch=tmp_path,
        tracked=Silent(),
    )
    assess_privacy.run(
        site="birch",
        images=site / "images",
        encoder=site / "encoder",
        model=tmp_path / "model",
        audit=tmp_path / "audit.json",
        pairs=tmp_path / "pairs.safetensors",
        sampling=SAMPLING,
        privacy=PRIVACY,
        seed=1,
        tracked=Silent(),
    )
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
