"""A generator of small pictures, trained in a second, for what a flow is told beside the label."""

from sitesynth.generators.autoencoder_training import train_autoencoder
from sitesynth.generators.descriptions import Bounds
from sitesynth.generators.diffusion import train_diffusion
from sitesynth.generators.generator import Generator
from sitesynth.images import ImageSet
from sitesynth.settings import (
    AutoencoderSettings,
    ComputeSettings,
    DiffusionSettings,
    GeneratorSettings,
    LatentsSettings,
)
from tests.unit.generators.tiny_latents import gan


PLAIN = ComputeSettings(
    autoencoder_at_once=None, diffusion_at_once=None, recompute_blocks=False, compile_blocks=False
)
CLASSES = ("wildtype", "mutant")


def train_tiny(images: ImageSet, diffusion: DiffusionSettings, *, bounds: Bounds) -> Generator:
    """Train on pictures whose label is `idh`; the autoencoder is hardly more than its shortcuts."""
    autoencoder = AutoencoderSettings(
        patch=(2, 2),
        channels=(8,),
        latent_channels=2,
        kl_weight=1e-6,
        adversarial=None,
        perceptual=None,
        sequence_dropout=0.0,
        learning_rate=1e-4,
        batch_size=4,
        num_steps=1,
        validate_every=None,
        patience_looks=None,
    )
    training = images.in_split("train")
    made, _ = train_diffusion(
        images,
        train_autoencoder(training, settings=autoencoder, compute=PLAIN, seed=0, site="alder"),
        settings=diffusion,
        compute=PLAIN,
        autoencoder_settings=autoencoder,
        latents_settings=LatentsSettings(source="own", num_phantoms=1),
        generator=GeneratorSettings(variant="flow", gan=gan(num_steps=1)),
        label="idh",
        classes=CLASSES,
        spacing_mm=None,
        seed=0,
        site="alder",
        bounds=bounds,
    )
    return made
