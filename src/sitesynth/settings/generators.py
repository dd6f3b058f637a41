"""Knobs of a site's generator, and of what is drawn from it."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from sitesynth.settings.fields import Count, Fraction, Name, Positive, Section, named_once


Width = Annotated[int, Field(gt=0, multiple_of=32)]


def check_patience(patience_looks: int | None, validate_every: int | None) -> None:
    """Make sure that patience has looks to count.

    Raises:
        ValueError: If there is patience without a look.
    """
    if patience_looks is not None and validate_every is None:
        raise ValueError(
            f"patience_looks {patience_looks} needs validate_every, which is null: "
            "without looks there is nothing to be patient with (null trains to the end)"
        )


class AdversarialSettings(Section):
    """A discriminator of patches, which the autoencoder's reconstructions have to pass (ADR 62)."""

    weight: Positive
    """Of the adversarial term, relative to the mean absolute error."""

    from_step: Count
    """First step in which the discriminator learns and the term counts."""

    width: Count
    """Feature maps of the discriminator's first layer; each further one has twice as many."""

    depth: Count
    """Layers after the first. The grid is halved as many times, and loses two places."""

    learning_rate: Positive
    """Peak step size of the discriminator's own AdamW."""


class AutoencoderSettings(Section):
    """The autoencoder that defines a site's latent space."""

    patch: Annotated[tuple[Count, ...], Field(strict=False)]
    """Voxels folded into channels before the first convolution, per axis; 1 folds nothing."""

    channels: Annotated[tuple[Count, ...], Field(strict=False, min_length=1)]
    """Feature maps per level; each further level halves the grid."""

    latent_channels: Count
    """Channels of the latent grid."""

    kl_weight: Annotated[float, Field(ge=0.0)]
    """Weight of the KL term relative to the mean absolute error."""

    adversarial: AdversarialSettings | None
    """Asks for reconstructions that a discriminator takes for scans; null asks for none."""

    perceptual: Positive | None
    """Weight of the error of textures' strength, relative to the mean absolute error; null leaves
    it out (ADR 62)."""

    sequence_dropout: Fraction
    """Probability that a present sequence is hidden from the encoder, and still asked back."""

    learning_rate: Positive
    """Peak step size of AdamW."""

    batch_size: Count
    """Scans per step."""

    num_steps: Count
    """Optimizer steps, not epochs, so that sites of different size get equal training."""

    validate_every: Count | None
    """Steps between looks at the reconstruction error on the site's validation scans; the weights
    of the best look are kept. Null never looks, and keeps the last (ADR 59)."""

    patience_looks: Count | None
    """Looks without a lower error after which training ends; null takes all steps."""

    @model_validator(mode="after")
    def _patience_has_something_to_see(self) -> Self:
        check_patience(self.patience_looks, self.validate_every)
        return self

    @model_validator(mode="after")
    def _the_adversary_has_its_turn(self) -> Self:
        if self.adversarial is not None and self.adversarial.from_step > self.num_steps:
            raise ValueError(
                f"adversarial.from_step {self.adversarial.from_step} comes after the last of "
                f"num_steps {self.num_steps}: lower it, or set adversarial to null"
            )
        return self


class PrivateTraining(Section):
    """DP-SGD: what one patient can change of the flow's weights is bounded (ADR 26)."""

    noise_multiplier: Positive
    """Standard deviation of the noise on a step's gradients, in clip norms."""

    clip_norm: Positive
    """Largest norm of the gradient of one patient, who is drawn with one scan."""

    delta: Annotated[float, Field(gt=0.0, lt=1.0)]
    """The delta at which epsilon is told; well below 1 / patients."""


class FlowSize(Section):
    """How large a flow is from some number of training scans on."""

    num_scans: Count
    """The least number of training scans that it is for."""

    width: Width
    """In the place of `diffusion.width`."""

    depth: Count
    """In the place of `diffusion.depth`."""


class ConvolutionSettings(Section):
    """Convolutions at every place of the latent grid, around the transformer (ADR 70)."""

    feature_maps: Annotated[int, Field(gt=0, multiple_of=8)]
    """Of each convolution."""

    num_blocks: Count
    """Residual blocks of two convolutions before the transformer, and as many after it."""


class DiffusionSettings(Section):
    """The conditional flow that generates a site's latents."""

    schedule: Literal["straight", "cosine"]
    """How data becomes noise: straight is rectified flow; cosine, a DDPM with v-prediction."""

    patch: Annotated[tuple[Count, ...], Field(strict=False)]
    """Latents per axis that make up one token of the transformer."""

    width: Width
    """Numbers per token; a head of attention has 64, or 32 if that does not divide them."""

    depth: Count
    """Blocks of the transformer."""

    convolutions: ConvolutionSettings | None
    """Puts the transformer between convolutions, which make details fit together; null leaves the
    patches to themselves (ADR 70)."""

    sizes: Annotated[tuple[FlowSize, ...], Field(strict=False)]
    """Other widths and depths, each from so many of the site's training scans on, in rising order;
    below the first, and with [], those above hold (ADR 63)."""

    components: Annotated[int, Field(ge=0)]
    """Leading principal components of the training latents by which the network is shown what noisy
    latents may mean as a whole; 0 for none. Few: many of them are the patients (ADR 54)."""

    detail: Fraction
    """How much more small details weigh in the loss: 0 is the squared error of the velocity, 1
    counts every spatial frequency in units of its own spread."""

    num_views: Count
    """Encodings kept of each training scan: as it is, mirrored, and then shifted ones."""

    warp: Annotated[float, Field(ge=0.0, le=2.0)]
    """How far the shifted encodings are also turned, scaled and bent: 1 is up to 20 degrees in
    plane, 12 % in size and 3 % of the grid's length; 0 leaves that (ADR 70)."""

    covariates: Annotated[tuple[Name, ...], Field(strict=False)]
    """What the flow is told beside the label, of cohort.covariates, the most important first; a
    number if it has more than six values at the site, else categories. [] for nothing."""

    label_score: bool
    """Whether the flow is also told how much a scan looks like its class: the log odds of a judge
    that did not learn from the scan's patient, as one covariate more, drawn as it occurs in the
    class (ADR 61)."""

    condition_dropout: Fraction
    """Probability that a scan's label is hidden, which trains the unconditional flow; and, apart,
    each of its covariates."""

    ema_decay: Fraction
    """Decay per step of the averaged weights that are kept."""

    dp: PrivateTraining | None
    """Trains the flow with differential privacy, by patient, on a Gaussian that is not fitted;
    null trains as usual. The autoencoder is not covered: ADR 26 says what is."""

    learning_rate: Positive
    """Peak step size: of Muon in the blocks of the transformer, of AdamW in the rest."""

    batch_size: Count
    """Latents per step."""

    num_steps: Count
    """Optimizer steps."""

    validate_every: Count | None
    """Steps between looks at the loss on the site's validation scans, at each noise level; the
    weights of the best look are kept. Null never looks, and keeps the last."""

    patience_looks: Count | None
    """Looks without a lower loss after which training ends; null takes all steps. ADR 17."""

    @field_validator("sizes")
    @classmethod
    def _sizes_rise(cls, sizes: tuple[FlowSize, ...]) -> tuple[FlowSize, ...]:
        counts = [size.num_scans for size in sizes]
        if counts != sorted(set(counts)):
            raise ValueError(f"sizes must be of rising num_scans, got {counts}")
        return sizes

    @field_validator("covariates")
    @classmethod
    def _covariates_arenamed_once(cls, covariates: tuple[str, ...]) -> tuple[str, ...]:
        return named_once(covariates, "covariate")

    @model_validator(mode="after")
    def _patience_has_something_to_see(self) -> Self:
        check_patience(self.patience_looks, self.validate_every)
        return self

    def for_scans(self, num_scans: int) -> Self:
        """Return the settings of a flow that learns from so many scans: of one size only."""
        chosen = {"width": self.width, "depth": self.depth}
        for size in self.sizes:
            if size.num_scans <= num_scans:
                chosen = {"width": size.width, "depth": size.depth}
        return self.model_copy(update={**chosen, "sizes": ()})


class LatentsSettings(Section):
    """Whose scans define the space of latents in which a site's generator works (ADR 29)."""

    source: Literal["own", "phantom"]
    """`own`: each site trains its autoencoder on its training scans. `phantom`: on phantoms, drawn
    alike everywhere, so that all sites have the same autoencoder and no patient is in it."""

    num_phantoms: Count
    """Phantoms that the shared autoencoder is trained on; not looked at with `own`."""


class GanSettings(Section):
    """What a GAN has beside the flow's network, whose architecture and batches are `diffusion`'s.

    The family is WGAN-GP (Gulrajani et al., 2017).
    """

    critic_width: Count
    """Feature maps of the critic's first layer; its second has twice as many."""

    critic_steps: Count
    """Steps of the critic for each one of the generator."""

    penalty_weight: Positive
    """Weight of the gradient penalty."""

    learning_rate: Positive
    """Peak step size of AdamW, for both players."""

    num_steps: Count
    """Optimizer steps of the critic; the generator takes one of `critic_steps` of them."""


class GeneratorSettings(Section):
    """What turns noise into latents (ADR 29)."""

    variant: Literal["flow", "gan", "gaussian"]
    """`flow` is the method; the others are baselines on the same latents: `gan`, a conditional
    WGAN-GP, and `gaussian`, what a flow starts from, without any network."""

    gan: GanSettings
    """Not looked at by other variants."""


class ComputeSettings(Section):
    """How trainings of generators use the machine; what they learn differs by rounding only."""

    autoencoder_at_once: Count | None
    """Scans of the autoencoder's batch in memory at once; the gradients of the batch's parts are
    added up. Null takes the whole batch."""

    diffusion_at_once: Count | None
    """Latents of the flow's batch in memory at once; null takes the whole batch."""

    recompute_blocks: bool
    """Keep what enters the transformer's blocks only, and compute the blocks again on the way back:
    a third more time, a fraction of the memory."""

    compile_blocks: bool
    """Let torch.compile write code for the transformer's blocks; needs a C++ compiler on the
    machine that trains."""


class CorrectionSettings(Section):
    """How a site brings what its generator draws nearer to its training scans (ADR 68)."""

    samples_per_scan: Count
    """Scans drawn for each training scan, to see what they have too little of."""

    max_gain: Annotated[float, Field(ge=1.0, le=16.0)]
    """By how much a band of spatial frequencies is amplified at most, or weakened."""


class SamplingSettings(Section):
    """How the hub draws from a bundle."""

    sampler: Literal["euler", "heun", "multistep", "ddim", "sde"]
    """How to follow the flow; heun calls the network twice a step, the others once. `sde` draws
    fresh noise on its way, which mends errors of the steps before (ADR 55)."""

    num_steps: Count
    """Steps of the sampler from noise to latents."""

    eta: Annotated[float, Field(ge=0.0)]
    """How much of the noise `sde` draws anew at each step (Song et al., 2021, Equation 16): 0 none,
    1 what the reverse diffusion does, more up to all of it. Other samplers do not look at it."""

    eta_interval: Annotated[tuple[Fraction, Fraction], Field(strict=False)]
    """Times, 0 = data and 1 = noise, between which `eta` holds; at others it is 1. [0, 1] is
    always; [0, 0.5] mends details, and leaves alone what a class looks like (ADR 60)."""

    guidance: Annotated[float, Field(ge=0.0)]
    """Classifier-free guidance scale: 0 ignores the label, 1 is the conditional flow itself."""

    guidance_interval: Annotated[tuple[Fraction, Fraction], Field(strict=False)]
    """Times, 0 = data and 1 = noise, between which guidance is applied; [0, 1] is always."""

    num_per_class: Count
    """Synthetic scans per training site and class."""

    batch_size: Count
    """Scans decoded at once; no image depends on it."""

    correction: CorrectionSettings | None
    """How samples are brought to the sharpness and grey levels of training scans; null leaves
    them as the networks draw them."""

    @model_validator(mode="after")
    def _intervals_are_not_reversed(self) -> Self:
        for name in ("eta_interval", "guidance_interval"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(
                    f"{name} [{low}, {high}] must name the earlier time, nearer to data, first: "
                    "0 is data, 1 is noise"
                )
        return self
