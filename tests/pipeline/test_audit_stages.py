"""The audit stages on tiny sites with untrained generators, from folders to summaries."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipelines import assess_privacy, assess_quality, summarize_audits
from sitesynth import seeds
from sitesynth.audits import describe_synthetic
from sitesynth.generators.correction import write_correction
from sitesynth.generators.denoiser import Denoiser
from sitesynth.generators.generator import (
    Generator,
    GeneratorConfig,
    build_networks,
    read_generator,
    write_flow,
)
from sitesynth.generators.rivals import VariantName
from sitesynth.generators.weights import AUTOENCODER_FILE, write_weights
from sitesynth.images import ImageSet, read_images, write_index, write_voxels
from sitesynth.privacy.probes import probe_autoencoder, probe_flow
from sitesynth.settings import (
    AutoencoderSettings,
    DiffusionSettings,
    PrivacySettings,
    QualitySettings,
    SamplingSettings,
    SiteSettings,
)
from sitesynth.tracking import Silent
from tests.unit.extractors.networks_for_tests import Brightness, settings_for, write_program
from tests.unit.tiny_models import TINY_COVARIATES


CHANNELS = ("t1", "flair", "mask")
GRID = (8, 8, 8)
SAMPLING = SamplingSettings(
    sampler="heun",
    num_steps=2,
    eta=0.0,
    eta_interval=(0.0, 1.0),
    guidance=1.5,
    guidance_interval=(0.0, 1.0),
    num_per_class=4,
    batch_size=8,
    correction=None,
)
PRIVACY = PrivacySettings(
    samples_per_scan=2,
    noise_draws=1,
    num_splits=10,
    confidence=0.95,
    encoder=None,
    copy_level=0.025,
    max_membership_auc=0.5,
    max_epsilon=None,
    min_held_out=8,
    powered_from=50,
)
QUALITY = QualitySettings(neighbours=3, num_pairs=10, num_resamples=100)


def write_site(folder: Path, site: str, variant: VariantName = "flow") -> None:
    """Write 20 scans of random heads, 12 of them for training, and a generator.

    That of alder knows age and sex, if it is a flow.
    """
    covariates = TINY_COVARIATES if site == "alder" and variant == "flow" else None
    rng = seeds.numpy_generator(0, site)
    rows = []
    for number in range(20):
        scan = f"{site}-{number:02d}"
        voxels = rng.random((3, *GRID)).astype(np.float32)
        voxels[2] = 0
        voxels[2, 2:5, 2:6, 3:6] = 1
        voxels[1] *= number != 3
        write_voxels(folder / "images", scan, voxels)
        rows.append(
            {"scan_id": scan, "patient_id": scan, "site": site}
            | {"split": "train" if number < 12 else "validation"}
            | {"has_t1": "true", "has_mask": "true", "idh": ("wildtype", "mutant")[number % 2]}
            | {"has_flair": "false" if number == 3 else "true"}
            | {"age": str(40 + number) if number % 4 else "", "sex": "FM"[number % 2]}
        )
    write_index(folder / "images", channels=CHANNELS, grid=GRID, rows=rows, about={})
    config = GeneratorConfig(
        site=site,
        label="idh",
        classes=("wildtype", "mutant"),
        channels=CHANNELS,
        grid=GRID,
        spacing_mm=None,
        autoencoder=AutoencoderSettings(
            patch=(2, 2, 2),
            channels=(8,),
            latent_channels=2,
            kl_weight=1e-6,
            adversarial=None,
            perceptual=None,
            sequence_dropout=0.0,
            learning_rate=1e-3,
            batch_size=4,
            num_steps=1,
            validate_every=None,
            patience_looks=None,
        ),
        diffusion=DiffusionSettings(
            schedule="straight",
            patch=(1, 1, 1),
            width=32,
            depth=1,
            convolutions=None,
            sizes=(),
            components=2,
            detail=0.5,
            num_views=3,
            warp=0.0,
            covariates=() if covariates is None else covariates.names,
            label_score=False,
            condition_dropout=0.1,
            ema_decay=0.9,
            dp=None,
            learning_rate=1e-3,
            batch_size=4,
            num_steps=1,
            validate_every=None,
            patience_looks=None,
        ),
        latent_mean=(0.0, 0.0),
        latent_std=1.0,
        variant=variant,
        covariates=covariates,
    )
    with seeds.isolated(torch.Generator().manual_seed(1)):
        generator = Generator(config, *build_networks(config))
    if covariates is not None:
        assert isinstance(generator.flow, Denoiser)
        generator.flow.slopes.fill_(0.5)
    write_weights(folder / "encoder" / AUTOENCODER_FILE, generator.autoencoder)
    write_flow(folder / "model", generator)
    write_correction(folder / "correction.json", None)


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sites")
    for site in ("alder", "birch"):
        write_site(folder / site, site)
    return folder


@pytest.fixture
def images(sites: Path) -> ImageSet:
    return read_images(sites / "alder" / "images")


@pytest.fixture
def generator(sites: Path) -> Generator:
    return read_generator(sites / "alder" / "encoder", sites / "alder" / "model")


def test_the_stages_write_what_the_contracts_say(sites: Path, tmp_path: Path) -> None:
    """Twice, to the same bytes; what another extractor finds stands beside the rest.

    Against held-out scans, the matrix has on its diagonal what each site found by itself: of its
    generator, and of its training scans, the floor.
    """
    path = write_program(tmp_path / "moments.pt2", Brightness(2), (4, 1, 8, 8))
    extractors = {"moments": settings_for(path, "program", size=(8, 8), slices=2)}
    written = []
    for _ in range(2):
        for site in ("alder", "birch"):
            read: dict[str, Any] = {
                "site": site,
                "images": sites / site / "images",
                "encoder": sites / site / "encoder",
                "model": sites / site / "model",
                "correction": sites / site / "correction.json",
                "sampling": SAMPLING,
                "seed": 1,
                "tracked": Silent(),
            }
            assess_privacy.run(
                **read,
                audit=sites / "privacy" / f"{site}.json",
                pairs=sites / "pairs" / f"{site}.safetensors",
                privacy=PRIVACY,
            )
            assess_quality.run(
                **read,
                report=sites / "quality" / f"{site}.json",
                features=sites / "features" / f"{site}.safetensors",
                quality=QUALITY,
                extractors=extractors,
            )
        summarize_audits.run(
            privacy_audits=sites / "privacy",
            quality_audits=sites / "quality",
            features=sites / "features",
            privacy_summary=sites / "privacy.json",
            quality_summary=sites / "quality.json",
            sites=SiteSettings(
                all=("alder", "birch", "elm"), training=("alder", "birch"), external=("elm",)
            ),
            quality=QUALITY,
            seed=1,
        )
        written.append([(sites / f"{name}.json").read_bytes() for name in ("privacy", "quality")])

    privacy, quality = (json.loads(content) for content in written[0])
    assert written[0] == written[1]
    assert set(privacy["sites"]) == set(quality["sites"]) == {"alder", "birch"}
    assert set(privacy["sites"]["alder"]["membership"]["attacks"]) == {
        "flow",
        "autoencoder",
        "samples (features)",
        "samples (voxels)",
    }
    assert privacy["sites"]["alder"]["gate"]["verdict"] in {"passed", "refused"}
    assert set(quality["matrix"]["kid"]["birch"]["alder"]) == {"value", "low", "high"}
    for site, found in quality["sites"].items():
        real = quality["matrix"]["real"]["kid"][site]
        held_out = quality["matrix"]["held_out"]["kid"][site]
        assert real[site]["value"] == pytest.approx(found["real"]["kid"]["value"], rel=1e-4)
        assert held_out[site]["value"] == pytest.approx(
            found["synthetic"]["kid"]["value"], rel=1e-4
        )
    returned = quality["sites"]["birch"]["reconstruction"]
    assert returned["scans"] == {"held_out": 8, "train": 12}
    assert set(returned["ms_ssim"]["by_sequence"]) == {"t1", "flair"}
    assert returned["judge"]["n"] == 20
    moments = quality["extractors"]["moments"]
    assert moments["extractor"]["weights_sha256"] == extractors["moments"].sha256
    assert set(moments["matrix"]["kid"]) == set(moments["sites"]) == {"alder", "birch"}
    assert moments["sites"]["alder"]["num_features"] == 4
    assert moments["sites"]["alder"]["scans"] == {"held_out": 8, "real": 12, "synthetic": 12}


def test_an_extractor_changes_nothing_that_is_measured_without_it(
    sites: Path, tmp_path: Path
) -> None:
    """Every default figure has the same digits."""
    path = write_program(tmp_path / "moments.pt2", Brightness(2), (4, 1, 8, 8))
    asked = {"moments": settings_for(path, "program", size=(8, 8), slices=2)}
    found = []
    for extractors in ({}, asked):
        assess_quality.run(
            site="alder",
            images=sites / "alder" / "images",
            encoder=sites / "alder" / "encoder",
            model=sites / "alder" / "model",
            correction=sites / "alder" / "correction.json",
            report=tmp_path / "report.json",
            features=tmp_path / "features.safetensors",
            sampling=SAMPLING,
            quality=QUALITY,
            extractors=extractors,
            seed=1,
            tracked=Silent(),
        )
        found.append(json.loads((tmp_path / "report.json").read_text()))

    assert "extractors" not in found[0]
    assert found[1].pop("extractors").keys() == {"moments"}
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("variant", "attack"),
    [("gan", "gan (inversion)"), ("gaussian", "gaussian (likelihood)")],
)
def test_a_rival_is_attacked_in_its_own_way(
    tmp_path: Path, variant: VariantName, attack: str
) -> None:
    """The audit names what it did, and the verdict what it could not."""
    write_site(tmp_path, "alder", variant)
    assess_privacy.run(
        site="alder",
        images=tmp_path / "images",
        encoder=tmp_path / "encoder",
        model=tmp_path / "model",
        correction=tmp_path / "correction.json",
        audit=tmp_path / "audit.json",
        pairs=tmp_path / "pairs.safetensors",
        sampling=SAMPLING.model_copy(update={"guidance": 1.0}),
        privacy=PRIVACY,
        seed=1,
        tracked=Silent(),
    )
    audit = json.loads((tmp_path / "audit.json").read_text())
    notes = " ".join(audit["gate"]["notes"])

    assert set(audit["membership"]["attacks"]) == {
        attack,
        "autoencoder",
        "samples (features)",
        "samples (voxels)",
    }
    assert ("critic was not attacked" in notes) == (variant == "gan")


def test_more_samples_leave_the_first_as_they_were(images: ImageSet, generator: Generator) -> None:
    """A last batch is padded, so that no sum depends on how many scans are wanted."""
    training = images.in_split("train")
    few, many = (
        describe_synthetic(
            generator,
            training,
            samples_per_scan=count,
            sampling=SAMPLING,
            seed=1,
            purpose="test",
        )
        for count in (1, 2)
    )

    assert len(many) == 2 * len(few) == 24
    np.testing.assert_array_equal(many.thumbnails[:8], few.thumbnails[:8])


def test_an_audit_asks_for_the_training_scans_own_covariates(
    images: ImageSet, generator: Generator
) -> None:
    """Another age of scan 5 changes the scan drawn for it, and the error measured on it, alone."""
    training = images.in_split("train")
    older = replace(training, table=training.table.copy())
    older.table.loc[5, "age"] = "75"
    both = (training, older)
    drawn = [
        describe_synthetic(
            generator, scans, samples_per_scan=1, sampling=SAMPLING, seed=1, purpose="test"
        ).thumbnails
        for scans in both
    ]
    errors = [probe_flow(generator, scans, num_draws=1, seed=1) for scans in both]

    for before, after in (drawn, errors):
        changed = [bool(np.any(a != b)) for a, b in zip(before, after, strict=True)]
        assert changed == [number == 5 for number in range(len(training))]


def test_a_probe_of_some_scans_is_their_part_of_a_probe_of_all(
    images: ImageSet, generator: Generator
) -> None:
    """No scan's error depends on its company, or members would differ from others by their number.

    To the last digits of floating-point sums, which depend on the batch's size.
    """
    some = images.select(number % 2 == 0 for number in range(len(images)))
    flow = [probe_flow(generator, scans, num_draws=1, seed=1) for scans in (some, images)]
    autoencoder = [probe_autoencoder(generator, scans) for scans in (some, images)]

    for part, whole in (flow, autoencoder):
        np.testing.assert_allclose(part, whole[::2], rtol=1e-4)


def test_the_error_of_a_missing_channel_is_unknown(images: ImageSet, generator: Generator) -> None:
    """Scan 3 has no FLAIR."""
    unknown = np.argwhere(np.isnan(probe_autoencoder(generator, images)))

    assert unknown.tolist() == [[3, 1]]
