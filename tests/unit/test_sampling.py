"""From noise to scans: where guidance is applied, and what it costs."""

from pathlib import Path

import pytest
import torch

from sitesynth import seeds
from sitesynth.generators.generator import Generator, GeneratorConfig, latent_shape
from sitesynth.images import ImageSet, read_images
from sitesynth.sampling import Solver, counts_of, draw_noise, sample_images, write_samples
from sitesynth.settings import SamplingSettings
from tests.unit.tiny_models import TINY_COVARIATES, tiny_generator


@pytest.fixture(scope="module")
def generator() -> Generator:
    """Return a generator whose classes differ: one mean is high, the other low."""
    generator = tiny_generator((8, 8))
    mean = generator.flow.get_buffer("mean")
    mean[1] += 2.0
    mean[2] -= 2.0
    with seeds.isolated(seeds.generator(0, "way out")):
        torch.nn.init.normal_(generator.autoencoder.shortcut_out.get_parameter("weight"), std=0.05)
    return generator


def draw(generator: Generator, solver: Solver) -> torch.Tensor:
    noise = draw_noise(
        range(2), latent_shape(generator.config), solver=solver, seed=1, site="alder", name="mutant"
    )
    return sample_images(generator, noise, [0, 1], solver=solver)


def test_guidance_outside_its_interval_is_none(generator: Generator) -> None:
    """Steps at 1, 3/4, 1/2, 1/4: an interval between two of them guides nothing."""
    plain = draw(generator, Solver("euler", 4, 1.0, (0.0, 1.0)))
    between = draw(generator, Solver("euler", 4, 3.0, (0.3, 0.4)))
    always = draw(generator, Solver("euler", 4, 3.0, (0.0, 1.0)))
    partly = draw(generator, Solver("euler", 4, 3.0, (0.4, 0.6)))

    assert torch.equal(plain, between)
    assert not torch.equal(plain, always)
    assert not torch.equal(plain, partly)
    assert not torch.equal(always, partly)


def test_the_whole_interval_is_plain_guidance_at_every_call() -> None:
    """Both ends belong to it; guidance of 1 needs no second call anywhere."""
    whole = Solver("heun", 4, 2.0, (0.0, 1.0))

    assert all(whole.guides(time) for time in (0.0, 0.5, 1.0))
    assert not Solver("heun", 4, 1.0, (0.0, 1.0)).guides(0.5)
    assert not Solver("heun", 4, 2.0, (0.2, 0.7)).guides(0.71)


@pytest.mark.parametrize("sampler", ["euler", "heun", "multistep", "ddim", "sde"])
def test_a_scan_does_not_depend_on_its_batch(generator: Generator, sampler: str) -> None:
    """Drawn alone or with others, to the last digits of sums."""
    solver = Solver(sampler, 3, 2.0, (0.2, 0.9), eta=1.0)  # type: ignore[arg-type]
    noise = draw_noise(
        range(4), latent_shape(generator.config), solver=solver, seed=1, site="alder", name="mutant"
    )
    together = sample_images(generator, noise, [1] * 4, solver=solver)
    alone = sample_images(generator, noise[2:3], [1], solver=solver)

    torch.testing.assert_close(together[2:3], alone, atol=1e-5, rtol=1e-5)


def test_only_a_solver_that_draws_anew_tells_how_much(generator: Generator) -> None:
    """Its scans differ from those of another eta; other solvers' do not, so they do not say it."""
    drawn = [draw(generator, Solver("sde", 3, 1.0, (0.0, 1.0), eta)) for eta in (0.0, 1.0)]
    told = Solver("sde", 3, 1.0, (0.0, 1.0), 1.0).told_for(generator.config)

    assert not torch.equal(*drawn)
    assert told["eta"] == 1.0
    assert told["eta_interval"] == [0.0, 1.0]
    silent = Solver("heun", 3, 1.0, (0.0, 1.0), 1.0).told_for(generator.config)
    assert not {"eta", "eta_interval"} & set(silent)


def test_outside_of_its_interval_eta_is_that_of_the_reverse_diffusion(generator: Generator) -> None:
    """The first of three steps begins at time 1, the last draws nothing anew."""

    def drawn(eta: float, low: float, high: float) -> torch.Tensor:
        return draw(generator, Solver("sde", 3, 1.0, (0.0, 1.0), eta, (low, high)))

    never, always, late = drawn(3.0, 0.0, 0.0), drawn(3.0, 0.0, 1.0), drawn(3.0, 0.0, 0.7)

    assert torch.equal(never, drawn(1.0, 0.0, 1.0))
    assert not torch.equal(never, late)
    assert not torch.equal(always, drawn(0.0, 0.0, 1.0))
    assert [
        Solver("sde", 3, 1, (0, 1), 3.0, (0.2, 0.7)).eta_at(t) for t in (0.1, 0.2, 0.7, 1.0)
    ] == [
        1.0,
        3.0,
        3.0,
        1.0,
    ]


SETTINGS = SamplingSettings(
    sampler="sde",
    num_steps=2,
    eta=1.0,
    eta_interval=(0.0, 1.0),
    guidance=1.0,
    guidance_interval=(0.0, 1.0),
    num_per_class=6,
    batch_size=4,
    correction=None,
)


def sampled(folder: Path, drawn: list[int] | None = None) -> ImageSet:
    """Sample six scans of each class by a generator that knows covariates."""
    count = [] if drawn is None else drawn
    write_samples(
        folder,
        tiny_generator((8, 8), covariates=TINY_COVARIATES),
        counts=(6, 6),
        settings=SETTINGS,
        bundle_digest="d",
        seed=1,
        on_scan=count.append,
    )
    return read_images(folder)


def test_the_synthetic_cohort_tells_covariates_like_a_real_one(tmp_path: Path) -> None:
    """Wild types are women of 52 to 68; of the mutants half are men of unknown age."""
    table = sampled(tmp_path / "cohort").table
    wildtype, mutant = (table[table["idh"] == name] for name in ("wildtype", "mutant"))

    assert set(wildtype["sex"]) == {"F"}
    assert wildtype["age"].astype(float).between(52, 68).all()
    assert (mutant["sex"] == "M").sum() == 3
    assert set(mutant.loc[mutant["sex"] == "M", "age"]) == {""}


def test_an_interrupted_cohort_goes_on_to_the_same_files(tmp_path: Path) -> None:
    """A scan whose sidecar says other covariates is drawn again; a whole batch is kept."""
    sampled(tmp_path / "cohort")
    files = {path: path.read_bytes() for path in (tmp_path / "cohort").rglob("*.*")}
    sidecar = tmp_path / "cohort/sidecars/alder-mutant-00005.json"
    sidecar.write_text(sidecar.read_text().replace('"sex": "', '"sex": "other '))
    (tmp_path / "cohort/voxels/alder-mutant-00005.npy").write_bytes(b"of another draw")
    kept = tmp_path / "cohort/voxels/alder-mutant-00000.npy"
    before = kept.stat().st_ino
    sampled(tmp_path / "cohort")

    assert {path: path.read_bytes() for path in (tmp_path / "cohort").rglob("*.*")} == files
    assert kept.stat().st_ino == before


def test_patterns_are_drawn_as_they_occur_and_lie_in_no_blocks(tmp_path: Path) -> None:
    """Of 8 scans, by counts of 15 and 5, six and two; any half of them has three and one."""
    generator = tiny_generator((8, 8))
    told = {"label": "findings", "classes": ("none", "edema+mass"), "class_counts": (15, 5)}
    config = generator.config.model_copy(update=told)
    drawing = Generator(config, generator.autoencoder, generator.flow)
    counts = counts_of(config, num_per_class=4)
    write_samples(
        tmp_path,
        drawing,
        counts=counts,
        settings=SETTINGS,
        bundle_digest="0",
        seed=1,
    )
    drawn = read_images(tmp_path)

    assert counts == [6, 2]
    assert counts_of(generator.config, num_per_class=4) == [4, 4]
    assert drawn.findings(("edema", "mass")).sum(dim=0).tolist() == [2, 2]
    half = drawn.table["findings"][:4].tolist()
    assert half.count("edema+mass") == 1
    assert "class_counts" not in generator.config.model_dump(mode="json")
    assert GeneratorConfig.model_validate(config.model_dump(mode="json")) == config
