"""Knobs of classifiers and of the ways to train them."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from sitesynth.settings.fields import Count, Fraction, MultipleOf8, Positive, Section


class ClassifierSettings(Section):
    """The one network that every strategy trains."""

    init_features: MultipleOf8
    """Feature maps of the first convolution."""

    growth_rate: MultipleOf8
    """Feature maps that each dense layer adds."""

    layers: Annotated[tuple[Count, ...], Field(strict=False, min_length=1)]
    """Dense layers per block; the grid is halved between blocks."""

    sequence_dropout: Fraction
    """Probability that a sequence is hidden in training, so that a missing one is no surprise."""

    learning_rate: Positive
    """Peak step size of AdamW."""

    weight_decay: Annotated[float, Field(ge=0.0)]
    """Decoupled weight decay of AdamW."""

    batch_size: Count
    """Scans per step."""

    num_steps: Count
    """Optimizer steps of every strategy; a federated model takes them in rounds."""

    validate_every: Count
    """Steps between looks at the validation loss; the best look is kept."""

    num_seeds: Count
    """Independent trainings; a strategy predicts the mean of their probabilities."""


class MixingSettings(Section):
    """How the hub finds the mix: the synthetic scans of each site and class to learn from."""

    num_trials: Annotated[int, Field(ge=0)]
    """Mixes tried. Among them, and if need be beyond this number: the equal one, the proportional
    one, and the equal one without each site in turn. 0 takes the equal mix untried."""

    num_random: Count
    """Trials, those named above among them, before the sampler proposes mixes by what it has seen,
    and before any is pruned."""

    max_total: Count
    """Budget: most synthetic scans of a mix, all sites and classes together."""

    min_per_class: Count
    """Fewest scans of each class, all sites together; a trial with fewer is not trained."""

    num_steps: Count
    """Optimizer steps of a trial's classifier, and of those that the finalists are judged by."""

    validate_every: Count
    """Steps between looks at the sites' validation, at which a trial may be pruned in its second
    half."""

    num_finalists: Count
    """Best trials that are trained again, beside the equal and the proportional mix."""

    num_seeds: Annotated[int, Field(ge=2)]
    """Trainings of each finalist, of seeds that no trial used. A tried mix is taken if it beats the
    fixed ones by more than two standard errors over them and over sites."""

    num_workers: Count
    """Processes that try mixes at once; with one, the same seed gives the same trials."""

    storage: str | None
    """Where trials are kept: null is a journal file; else an address that Optuna knows, such as
    postgresql+psycopg://host/database, or grpc://host:port of a storage proxy."""

    @model_validator(mode="after")
    def _fixed_mixes_are_among_the_trials(self) -> Self:
        if self.num_trials == 1:
            raise ValueError(
                "num_trials 1 leaves no room for the equal and the proportional mix; 2 tries just "
                "these, 0 tries nothing and takes the equal one"
            )
        if self.validate_every > self.num_steps:
            raise ValueError(
                f"validate_every {self.validate_every} exceeds num_steps {self.num_steps}: a trial "
                "would be looked at only once it has ended"
            )
        return self


class SupplementationSettings(Section):
    """A curve: external AUC against the number of synthetic scans, added to real ones or alone.

    It describes the study and chooses nothing in it.
    """

    percentages: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False)]
    """Synthetic scans in percent of the real ones, ascending from 0, which is the reference; []
    measures nothing. The pool, `sampling.num_per_class`, bounds them."""

    num_seeds: Count
    """Replicates of each point: trainings, each on scans of its own drawn from the pool."""

    @field_validator("percentages")
    @classmethod
    def _ascend_from_zero(cls, percentages: tuple[int, ...]) -> tuple[int, ...]:
        if percentages and (percentages[0] != 0 or list(percentages) != sorted(set(percentages))):
            raise ValueError(
                f"percentages {list(percentages)} must ascend from 0, the real scans alone, e.g. "
                "[0, 50, 100]; [] measures nothing"
            )
        return percentages


class FederatedSettings(Section):
    """Federated averaging (McMahan et al., 2017), and ways to steady, shorten and damp it."""

    engine: Literal["in_process", "nvflare"]
    """A loop in one process, or NVFlare with one process per site; the weights are the same."""

    num_rounds: Count
    """Exchanges of weights between the sites and the hub."""

    batch_size: Count
    """Scans per local step; the centralized batch shared out keeps the scans seen equal."""

    weighting: Literal["scans", "equal"]
    """What a site's weights count by in the average."""

    normalization: Literal["shared", "local"]
    """Whether a site trains on from the hub's normalization layers or from its own (FedBN, Li et
    al., 2021). The hub averages them either way: an external site, which has none, is judged with
    the average, and so is every look at the validation loss."""

    sites_per_round: Count | None
    """Sites that train in a round, drawn anew each time; null for all. The others only validate."""

    patience_rounds: Count | None
    """Rounds without a lower validation loss after which a training ends early; null for none."""

    clip_norm: Positive | None
    """Longest change of the weights that a site sends, in Euclidean norm; a longer one is scaled
    down to it. Null for none. Running statistics are sent as they are."""

    noise_multiplier: Annotated[float, Field(ge=0.0)]
    """Standard deviation of the noise that a site adds to each weight's change, in units of
    clip_norm; 0 for none."""

    encryption: Literal["none", "bfv"]
    """Whether the hub reads the sites' weights or, with bfv, only adds them encrypted (TenSEAL): it
    learns the best average of each training. Costs some seven times the bytes."""

    finetune_steps: Count
    """Steps on its own scans that a site takes after the last round, for `finetuned-<site>`."""

    proximal_weight: Annotated[float, Field(ge=0.0)]
    """The mu of FedProx (Li et al., 2020): holds local steps near the hub's weights; 0 for none."""

    hub_learning_rate: Positive
    """The hub's step along the average change (FedOpt, Reddi et al., 2021); 1 takes the average."""

    hub_momentum: Annotated[float, Field(ge=0.0, lt=1.0)]
    """Share of the hub's last step that is added to its next; 0 for none."""

    min_sites: Count | None
    """Usable answers without which a round ends the study; null asks for every training site."""

    max_update_ratio: Annotated[float, Field(gt=1.0)]
    """A change this many times the round's (lower) median change is not usable."""

    patience_s: Count
    """Seconds the hub waits for the sites' answers in a round; NVFlare only."""

    @property
    def algorithm(self) -> str:
        """Name of what the knobs amount to."""
        parts = {
            "fedprox": self.proximal_weight > 0,
            "fedbn": self.normalization == "local",
            "fedopt": self.hub_learning_rate != 1.0 or self.hub_momentum > 0,
        }
        return " with ".join(name for name, is_on in parts.items() if is_on) or "fedavg"

    @property
    def privacy(self) -> dict[str, str | float | None]:
        """What hides a site's update, as the ledger tells it; no epsilon is claimed."""
        return {
            "encryption": self.encryption,
            "clip_norm": self.clip_norm,
            "noise_multiplier": self.noise_multiplier,
            "epsilon": None,
        }

    def quorum(self, num_asked: int) -> int:
        """Return how many of the sites asked must answer usably."""
        return num_asked if self.min_sites is None else min(self.min_sites, num_asked)

    @model_validator(mode="after")
    def _the_hub_can_do_it_encrypted(self) -> Self:
        if self.encryption == "none":
            return self
        if self.hub_learning_rate != 1 or self.hub_momentum > 0:
            raise ValueError(
                f"encryption {self.encryption} lets the hub add and nothing else, but "
                f"hub_learning_rate is {self.hub_learning_rate:g} and hub_momentum "
                f"{self.hub_momentum:g}; set them to 1 and 0, or encryption to none"
            )
        for name, number in (
            ("sites_per_round", self.sites_per_round),
            ("min_sites", self.min_sites),
        ):
            if number == 1:
                raise ValueError(
                    f"encryption {self.encryption} hides a site among others, but {name} is 1: the "
                    "sum of one site is its weights; set 2 or more, or encryption to none"
                )
        return self

    @model_validator(mode="after")
    def _noise_has_a_unit(self) -> Self:
        if self.noise_multiplier > 0 and self.clip_norm is None:
            raise ValueError(
                f"noise_multiplier {self.noise_multiplier:g} is in units of clip_norm, which is "
                "null; set clip_norm, or noise_multiplier to 0"
            )
        return self
