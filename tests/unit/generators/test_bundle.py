"""A bundle from another site is whole, or it is refused with a reason."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sitesynth import seeds
from sitesynth.errors import BundleError
from sitesynth.generators.bundle import read_bundle, site_key, verify_bundle, write_bundle
from sitesynth.generators.generator import Generator, GeneratorConfig, build_networks
from sitesynth.sampling import Solver, covariates_of, draw_noise, draw_scans, sample_images
from sitesynth.settings import AutoencoderSettings, DiffusionSettings
from tests.unit.tiny_models import TINY_COVARIATES, tiny_generator, write_tiny_bundle


CONFIG = GeneratorConfig(
    site="alder",
    label="idh",
    classes=("wildtype", "mutant"),
    channels=("t1", "mask"),
    grid=(8, 8),
    spacing_mm=None,
    autoencoder=AutoencoderSettings(
        patch=(2, 2),
        channels=(8,),
        latent_channels=2,
        kl_weight=0.0,
        adversarial=None,
        perceptual=None,
        sequence_dropout=0.0,
        learning_rate=1e-3,
        batch_size=1,
        num_steps=1,
        validate_every=None,
        patience_looks=None,
    ),
    diffusion=DiffusionSettings(
        schedule="straight",
        patch=(2, 2),
        width=32,
        depth=1,
        convolutions=None,
        sizes=(),
        components=2,
        detail=0.5,
        num_views=3,
        warp=0.0,
        covariates=(),
        label_score=False,
        condition_dropout=0.1,
        ema_decay=0.9,
        dp=None,
        learning_rate=1e-3,
        batch_size=1,
        num_steps=1,
        validate_every=None,
        patience_looks=None,
    ),
    latent_mean=(0.0, 1.0),
    latent_std=2.0,
)


@pytest.fixture(scope="module")
def generator() -> Generator:
    """Return an untrained generator of one small site."""
    with seeds.isolated(seeds.generator(0, "generator")):
        return Generator(CONFIG, *build_networks(CONFIG))


@pytest.fixture
def bundle(tmp_path: Path, generator: Generator) -> Path:
    """Return a signed bundle of it."""
    key, _ = site_key("alder", seed=1)
    write_bundle(tmp_path / "alder", generator, card={}, card_text="# card\n", signing_key=key)
    return tmp_path / "alder"


def test_a_bundle_brings_back_the_same_generator(bundle: Path, generator: Generator) -> None:
    """The hub samples the very scans that the site would."""
    solver = Solver("sde", 2, 2.0, (0.0, 1.0), eta=1.0)
    noise = draw_noise([0, 1], (2, 4, 4), solver=solver, seed=1, site="alder", name="mutant")
    there, here = (
        sample_images(g, noise, [1, 1], solver=solver) for g in (generator, read_bundle(bundle))
    )

    assert torch.equal(there, here)


def test_the_same_generator_gives_the_same_bytes(
    bundle: Path, generator: Generator, tmp_path: Path
) -> None:
    """Two clones of a study agree on the digest of every file."""
    key, _ = site_key("alder", seed=1)
    write_bundle(tmp_path / "again", generator, card={}, card_text="# card\n", signing_key=key)

    for file in bundle.iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()


def test_a_config_says_how_weights_were_chosen_only_if_they_were(generator: Generator) -> None:
    """Bundles of before there was a choice are read, and those without one are written as then."""
    chosen = CONFIG.model_copy(
        update={"autoencoder": CONFIG.autoencoder.model_copy(update={"validate_every": 20})}
    )
    told = generator.config.model_dump(mode="json")

    assert not {"validate_every", "patience_looks"} & set(told["autoencoder"])
    assert GeneratorConfig.model_validate(told) == CONFIG
    assert chosen.model_dump(mode="json")["autoencoder"]["validate_every"] == 20
    assert GeneratorConfig.model_validate(chosen.model_dump(mode="json")) == chosen


def edit_json(name: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """Return an attack that changes one JSON file of a bundle."""

    def attack(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        change(content)
        (folder / name).write_text(json.dumps(content))

    return attack


def replace_weights(folder: Path) -> None:
    """Swap in weights of a right shape that were not signed."""
    weights = load_file(folder / "flow.safetensors")
    save_file({name: value + 1 for name, value in weights.items()}, folder / "flow.safetensors")


def add_files(number: int) -> Callable[[Path], None]:
    """Return an attack that puts files 0, 1, ... beside those of a bundle."""

    def attack(folder: Path) -> None:
        for name in range(number):
            (folder / str(name)).touch()

    return attack


def replace_card_by_link(folder: Path) -> None:
    """Put a link where a file was."""
    (folder / "card.md").unlink()
    (folder / "card.md").symlink_to(folder / "card.json")


ATTACKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing file": (lambda f: (f / "card.md").unlink(), r"missing \['card.md'\]"),
    "extra file": (lambda f: (f / "run.py").write_text("1"), r"unexpected \['run.py'\]"),
    "three extra files": (add_files(3), r"unexpected \['0', '1', '2'\]\. A bundle holds"),
    "five extra files": (add_files(5), r"unexpected \['0', '1', '2'\] and 2 more\. A bundle"),
    "a link": (replace_card_by_link, "plain file"),
    "altered weights": (replace_weights, "not the file that was signed"),
    "altered card": (edit_json("card.json", lambda c: c.update(epsilon=0)), "was signed"),
    "altered sums": (
        lambda f: (f / "SHA256SUMS").write_text((f / "SHA256SUMS").read_text()[::-1]),
        "altered",
    ),
    "no signature in it": (edit_json("SIGNATURE.json", lambda c: c.clear()), "malformed"),
    "not base64": (edit_json("SIGNATURE.json", lambda c: c.update(signature="?")), "malformed"),
    "not JSON": (lambda f: (f / "SIGNATURE.json").write_text("{"), "not valid JSON"),
    "a key twice": (
        lambda f: (f / "SIGNATURE.json").write_text('{"signature": "a", "signature": "b"}'),
        "twice",
    ),
    "deep nesting": (lambda f: (f / "SIGNATURE.json").write_text("[" * 100_000), "not valid JSON"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_altered_bundle_is_refused(bundle: Path, name: str) -> None:
    """Each alteration has its own message, and none reaches the weights."""
    attack, message = ATTACKS[name]
    attack(bundle)

    with pytest.raises(BundleError, match=message):
        read_bundle(bundle)


def resigned(folder: Path, generator: Generator) -> Path:
    """Sign a folder as it is, as a site with bad intentions could."""
    key, _ = site_key("alder", seed=1)
    kept = {file.name: file.read_bytes() for file in folder.iterdir()}
    target = folder.with_name("resigned")
    shutil.copytree(folder, target)
    write_bundle(target, generator, card={}, card_text="# card\n", signing_key=key)
    from sitesynth.generators import bundle as module  # noqa: PLC0415
    from sitesynth.storage import digest_of_file  # noqa: PLC0415

    for name in module.SIGNED:
        (target / name).write_bytes(kept[name])
    sums = "".join(f"{digest_of_file(target / name)}  {name}\n" for name in module.SIGNED)
    (target / "SHA256SUMS").write_text(sums)
    signature = json.loads((target / "SIGNATURE.json").read_text())
    import base64  # noqa: PLC0415

    signature["signature"] = base64.b64encode(key.sign(sums.encode())).decode()
    (target / "SIGNATURE.json").write_text(json.dumps(signature))
    return target


SIGNED_ATTACKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "another schema": (
        edit_json("config.json", lambda c: c.update(schema_version=3)),
        "schema 3; this version reads schema 4",
    ),
    "no schema": (edit_json("config.json", lambda c: c.pop("schema_version")), "schema None"),
    "an unknown key": (
        edit_json("config.json", lambda c: c.update(_target_="os.system")),
        "_target_",
    ),
    "a huge grid": (edit_json("config.json", lambda c: c.update(grid=[10**9, 8])), "grid"),
    "a scale of zero": (
        edit_json("config.json", lambda c: c.update(latent_std=0.0)),
        "latent_std",
    ),
    "a scale too few": (
        edit_json("config.json", lambda c: c.update(latent_mean=[0.0])),
        "per latent",
    ),
    "a scale without end": (
        lambda f: (f / "config.json").write_text(
            (f / "config.json").read_text().replace('"latent_std": 2.0', '"latent_std": 1e999')
        ),
        "must be finite numbers",
    ),
    "a billion blocks": (
        edit_json("config.json", lambda c: c["diffusion"].update(depth=10**9)),
        "depth is 1000000000; at most 256 is built",
    ),
    "a billion components": (
        edit_json("config.json", lambda c: c["diffusion"].update(components=10**9)),
        "components is 1000000000; at most 8192 is built",
    ),
    "a billion feature maps": (
        edit_json(
            "config.json",
            lambda c: c["diffusion"].update(convolutions={"feature_maps": 10**9, "num_blocks": 1}),
        ),
        "feature_maps is 1000000000; at most 8192 is built",
    ),
    "a billion residual blocks": (
        edit_json(
            "config.json",
            lambda c: c["diffusion"].update(convolutions={"feature_maps": 8, "num_blocks": 10**9}),
        ),
        "num_blocks is 1000000000; at most 256 is built",
    ),
    "convolutions that the weights are not of": (
        edit_json(
            "config.json",
            lambda c: c["diffusion"].update(convolutions={"feature_maps": 8, "num_blocks": 1}),
        ),
        "do not fit",
    ),
    "a bundle of before there were hints": (
        edit_json("config.json", lambda c: c["diffusion"].pop("components")),
        "components",
    ),
    "more levels than the grid has halvings": (
        edit_json("config.json", lambda c: c["autoencoder"].update(channels=[8] * 6)),
        "must be a multiple of 128",
    ),
    "a patch of another dimension": (
        edit_json("config.json", lambda c: c["autoencoder"].update(patch=[2])),
        "must have one number per axis of the grid",
    ),
    "another architecture": (
        edit_json("config.json", lambda c: c["autoencoder"].update(channels=[16])),
        "must be F32 of shape|do not fit",
    ),
    "a pickle": (lambda f: (f / "flow.safetensors").write_bytes(b"\x80\x04" * 40), "header of"),
    "weights of another type": (
        lambda f: save_file(
            {k: v.half() for k, v in load_file(f / "flow.safetensors").items()},
            f / "flow.safetensors",
        ),
        "must be F32",
    ),
    "a weight more": (
        lambda f: save_file(
            load_file(f / "flow.safetensors") | {"../../x": torch.zeros(1)}, f / "flow.safetensors"
        ),
        "do not fit",
    ),
    "a weight that is no number": (
        lambda f: save_file(
            {k: v * float("nan") for k, v in load_file(f / "flow.safetensors").items()},
            f / "flow.safetensors",
        ),
        "not finite",
    ),
}


@pytest.mark.parametrize("name", SIGNED_ATTACKS)
def test_a_signature_does_not_excuse_what_is_inside(
    bundle: Path, generator: Generator, name: str
) -> None:
    """A site can sign nonsense: schema, header and weights are checked all the same."""
    attack, message = SIGNED_ATTACKS[name]
    attack(bundle)

    with pytest.raises(BundleError, match=message):
        read_bundle(resigned(bundle, generator))


def test_a_bundle_of_another_key_is_refused(bundle: Path) -> None:
    """A hub that knows a site's key accepts no other."""
    stranger, _ = site_key("birch", seed=1)
    with pytest.raises(BundleError, match="not the key that this site gave"):
        verify_bundle(bundle, public_key=stranger.public_key().public_bytes_raw())


def test_an_image_does_not_depend_on_its_batch() -> None:
    """Scan 5 drawn alone is scan 5 drawn among others."""
    solver = Solver("sde", 3, 1.0, (0.0, 1.0), eta=1.0)
    alone, among = (
        draw_noise(numbers, (1, 4, 4), solver=solver, seed=1, site="alder", name="mutant")
        for numbers in ([5], range(8))
    )

    assert torch.equal(alone[0], among[5])
    assert len(alone[0].unique()) == 3 * 16


@pytest.fixture
def told(tmp_path: Path) -> tuple[Path, Generator]:
    """Return a signed bundle of a generator that knows covariates, and the generator."""
    generator = tiny_generator((8, 8), covariates=TINY_COVARIATES)
    return write_tiny_bundle(tmp_path / "alder", generator), generator


def test_covariates_come_back_with_the_bundle(told: tuple[Path, Generator]) -> None:
    """Description and embeddings: the hub draws the same covariates, and the same scans by them."""
    bundle, site = told
    hub = read_bundle(bundle)
    solver = Solver("heun", 2, 1.0, (0.0, 1.0))
    there, here = (covariates_of(g, "mutant", range(2), seed=1) for g in (site, hub))
    scans = [
        draw_scans(g, "mutant", range(2), seed=1, solver=solver, covariates=there)
        for g in (site, hub)
    ]

    assert hub.config == site.config
    assert there == here
    assert {words["sex"] for words in there} == {"F", "M"}
    assert torch.equal(*scans)


COVARIATE_ATTACKS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "left out": (lambda c: c.pop("covariates"), r"covariates \[\] must be those of diffusion"),
    "another name": (
        lambda c: c["covariates"]["columns"][0].update(name="years"),
        r"\['years', 'sex'\] must be those of diffusion \['age', 'sex'\]",
    ),
    "a column of the table": (
        lambda c: (
            c["covariates"]["columns"][1].update(name="split"),
            c["diffusion"].update(covariates=["age", "split"]),
        ),
        r"covariates \['split'\] have the names of other columns",
    ),
    "a column of presence": (
        lambda c: (
            c["covariates"]["columns"][1].update(name="has_t1"),
            c["diffusion"].update(covariates=["age", "has_t1"]),
        ),
        r"covariates \['has_t1'\] have the names of other columns",
    ),
    "a class more": (lambda c: c["covariates"]["cells"].append([]), "cells of 3 classes"),
    "one patient's age": (
        lambda c: c["covariates"]["cells"][0][0].update(patients=1),
        "cells.0.0.patients: Input should be greater than or equal to 5",
    ),
    "no such category": (
        lambda c: c["covariates"]["cells"][0][0].update(told=[None, "X"]),
        "a cell's sex must not be 'X'",
    ),
    "a spread of zero": (
        lambda c: c["covariates"]["columns"][0].update(std=0.0),
        "std: Input should be greater than or equal to 0.000000001",
    ),
    "another kind": (
        lambda c: c["covariates"]["columns"][0].update(kind="pickle"),
        "'pickle' found using 'kind' does not match",
    ),
    "a line break": (
        lambda c: c["covariates"]["columns"][1].update(categories=["F\nG", "M"]),
        "String should match pattern",
    ),
    "more categories than are read": (
        lambda c: c["covariates"]["columns"][1].update(categories=[str(n) for n in range(101)]),
        "at most 100 items",
    ),
    "a category that the weights lack": (
        lambda c: c["covariates"]["columns"][1].update(categories=["F", "M", "X"]),
        "must be F32 of shape",
    ),
}


@pytest.mark.parametrize("name", COVARIATE_ATTACKS)
def test_what_a_bundle_tells_of_covariates_is_checked(
    told: tuple[Path, Generator], name: str
) -> None:
    """However it is signed."""
    bundle, generator = told
    change, message = COVARIATE_ATTACKS[name]
    edit_json("config.json", change)(bundle)

    with pytest.raises(BundleError, match=message):
        read_bundle(resigned(bundle, generator))
