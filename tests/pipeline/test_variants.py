"""What stands in a flow's place, from scans to synthetic ones, through the stages."""

import json
from pathlib import Path
from typing import get_args

import pandas as pd
import pytest

from pipelines import correct, package, sample, train_diffusion
from sitesynth.generators.generator import GeneratorConfig
from sitesynth.generators.rivals import VariantName
from sitesynth.privacy.release import digest_weights
from sitesynth.processes import ALONE
from sitesynth.settings import CorrectionSettings, LatentsSettings, load_settings
from sitesynth.storage import write_json
from sitesynth.tracking import Silent
from tests.pipeline.test_audit_stages import GRID, SAMPLING, write_site


PARAMS = Path(__file__).parents[2] / "params.yaml"
CORRECTION = CorrectionSettings(samples_per_scan=1, max_gain=2.0)

TOLD = {
    "flow": (["step", "loss"], {"0.1", "0.3", "0.5", "0.7", "0.9"}),
    "gan": (["step", "distance", "loss", "penalty"], {"critic"}),
    "gaussian": (["step"], {"noise_needed"}),
}
"""Columns of the history, and what is told of held-out scans."""


@pytest.mark.parametrize("variant", get_args(VariantName))
def test_a_variant_goes_the_whole_way(tmp_path: Path, variant: VariantName) -> None:
    """Trained, packed, drawn from; each file says which variant it is of, or is a flow's."""
    write_site(tmp_path, "birch")
    config = GeneratorConfig.model_validate_json((tmp_path / "model" / "config.json").read_text())
    study = load_settings(PARAMS)
    gan = study.generator.gan.model_copy(update={"num_steps": 2})
    train_diffusion.run(
        site="birch",
        images=tmp_path / "images",
        encoder=tmp_path / "encoder",
        model=tmp_path / "trained",
        labels=study.cohort.labels,
        task=study.task,
        grid=study.grid.model_copy(update={"shape": GRID}),
        autoencoder=config.autoencoder,
        latents=LatentsSettings(source="phantom", num_phantoms=1),
        diffusion=config.diffusion.model_copy(update={"covariates": ()}),
        generator=study.generator.model_copy(update={"variant": variant, "gan": gan}),
        compute=study.compute,
        seed=1,
        processes=ALONE,
        scratch=tmp_path / "scratch",
        kept=tmp_path / "kept",
        tracked=Silent(),
    )
    settings = SAMPLING.model_copy(update={"guidance": 1.0, "correction": CORRECTION})
    correct.run(
        site="birch",
        images=tmp_path / "images",
        encoder=tmp_path / "encoder",
        model=tmp_path / "trained",
        correction=tmp_path / "correction.json",
        sampling=settings,
        seed=1,
        tracked=Silent(),
    )
    weights = digest_weights(
        tmp_path / "encoder", tmp_path / "trained", tmp_path / "correction.json"
    )
    gate = {"verdict": "passed", "reasons": []}
    audit = {"site": "birch", "weights": weights, "epsilon": None, "gate": gate}
    write_json(tmp_path / "privacy.json", audit)
    write_json(tmp_path / "quality.json", {})
    package.run(
        site="birch",
        images=tmp_path / "images",
        encoder=tmp_path / "encoder",
        model=tmp_path / "trained",
        correction=tmp_path / "correction.json",
        privacy_audit=tmp_path / "privacy.json",
        quality_audit=tmp_path / "quality.json",
        bundle=tmp_path / "bundle",
        seed=1,
    )
    sample.run(
        site="birch",
        bundle=tmp_path / "bundle",
        synthetic=tmp_path / "synthetic",
        sampling=settings,
        seed=1,
        tracked=Silent(),
    )
    losses, card = (
        json.loads((tmp_path / name).read_text())
        for name in ("trained/losses.json", "bundle/card.json")
    )
    sidecars = [json.loads(p.read_text()) for p in (tmp_path / "synthetic").glob("sidecars/*")]
    columns, names = TOLD[variant]

    assert list(pd.read_csv(tmp_path / "trained" / "history.csv").columns) == columns
    assert {split: set(told) for split, told in losses.items()} == {
        "train": names,
        "validation": names,
    }
    assert card.get("variant", "flow") == variant
    assert card.get("variant_losses", card["flow_losses"]) == losses
    said = (tmp_path / "bundle" / "card.md").read_text()
    assert "nobody's scans" in said
    assert "brought to the mean sharpness" in said
    assert len(sidecars) == 2 * SAMPLING.num_per_class
    assert {told["sampler"] for told in sidecars} == {
        "heun" if variant == "flow" else f"not applicable: a {variant} draws in one pass"
    }
