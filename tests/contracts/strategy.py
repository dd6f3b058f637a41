"""What every `Strategy` promises, whichever it is."""

from collections.abc import Sequence

import torch
from torch import nn

from sitesynth import seeds
from sitesynth.classifiers.training import Examples, ValidationScore, balance, score
from sitesynth.strategies.protocol import Consortium, Site, Strategy


class Net(nn.Module):
    """The smallest network that tells bright from dark."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(1, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits from the mean brightness."""
        logits: torch.Tensor = self.head(images.flatten(1).mean(dim=1, keepdim=True))
        return logits


def build(member: int) -> nn.Module:
    """Return the untrained network of one seed."""
    with seeds.isolated(seeds.generator(0, "net", member)):
        return Net()


def bright_and_dark(scope: str) -> Examples:
    """Return scans whose classes differ in brightness, so that any learner can tell them."""
    labels = torch.tensor([0, 1] * 6)
    noise = 0.1 * torch.rand(12, 1, 4, 4, generator=seeds.generator(0, scope))
    presence = torch.ones(12, 1, dtype=torch.bool)
    return Examples(noise + labels.reshape(-1, 1, 1, 1), presence, labels, balance(labels))


def site_of(name: str) -> Site:
    """Return a site with scans to learn from and scans to try models on."""
    held_out = bright_and_dark(f"{name} held out")

    def validate(models: Sequence[nn.Module]) -> ValidationScore:
        return score(models, held_out, positive=1)

    return Site(real=bright_and_dark(name), synthetic=None, validate=validate)


def consortium() -> Consortium:
    """Return two sites."""
    return {name: site_of(name) for name in ("alder", "birch")}


class StrategyContract:
    """Subclass it next to a strategy's own tests, and override the `strategy` fixture."""

    last_step = 24

    def test_learns_what_any_learner_can(self, strategy: Strategy) -> None:
        """Bright is told from dark on held-out images."""
        model = strategy.fit(consortium(), build, seed=1, member=0, on_step=lambda s, v: None)
        images, labels = bright_and_dark("test").images, bright_and_dark("test").labels

        assert torch.equal(model(images).argmax(dim=1), labels)

    def test_the_order_of_sites_does_not_matter(self, strategy: Strategy) -> None:
        """A mapping has no order, so neither has the result."""
        there, back = (
            strategy.fit(sites, build, seed=1, member=0, on_step=lambda s, v: None)
            for sites in (consortium(), dict(reversed(list(consortium().items()))))
        )

        for first, second in zip(there.parameters(), back.parameters(), strict=True):
            assert torch.equal(first, second)

    def test_returns_a_model_ready_to_predict(self, strategy: Strategy) -> None:
        """Evaluation mode, and on the CPU."""
        model = strategy.fit(consortium(), build, seed=1, member=0, on_step=lambda s, v: None)

        assert not model.training
        assert next(model.parameters()).device.type == "cpu"

    def test_members_differ_and_repeat(self, strategy: Strategy) -> None:
        """Another member starts from other weights; the same member gives the same weights."""
        first, again, other = (
            strategy.fit(consortium(), build, seed=1, member=member, on_step=lambda s, v: None)
            for member in (0, 0, 1)
        )

        assert torch.equal(first.head.weight, again.head.weight)  # type: ignore[union-attr,arg-type]
        assert not torch.equal(first.head.weight, other.head.weight)  # type: ignore[union-attr,arg-type]

    def test_the_last_step_is_told(self, strategy: Strategy) -> None:
        """A progress bar reaches its end."""
        told: list[int] = []
        strategy.fit(consortium(), build, seed=1, member=0, on_step=lambda s, v: told.append(s))

        assert told[-1] == self.last_step
        assert told == sorted(told)
