"""Fitting any strategy in stages: the whole of it, once for each stage, on that stage's scans."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from torch import nn

from sitesynth import seeds
from sitesynth.classifiers.stages import InStages, Stage
from sitesynth.classifiers.training import ValidationScore, Validator
from sitesynth.strategies.protocol import Consortium, Learner, Site, Strategy
from sitesynth.tracking import OnStep


__all__ = ["fit_in_stages", "sites_of_stage"]

SCOPE: Final = "stage"


def fit_in_stages(
    strategy: Strategy,
    stages: Sequence[Stage],
    sites: Consortium,
    build_of: Callable[[Stage, int], Learner],
    *,
    seed: int,
    member: int,
    on_step: OnStep,
) -> nn.Module:
    """Learn a network for each stage, and put them together.

    Args:
        strategy: How to learn each.
        stages: The stages.
        sites: What the strategy may see of each training site.
        build_of: Gives a stage, and a seed of its own, what builds its untrained networks.
        seed: Root seed of the study.
        member: Number of this training among the strategy's seeds, from 0.
        on_step: Told each step's losses; steps go on counting from stage to stage.

    Returns:
        A classifier of all classes, in evaluation mode, on the CPU.
    """
    networks: dict[str, nn.Module] = {}
    done = 0
    for stage in stages:
        before = done

        def heard(step: int, losses: Mapping[str, float], before: int = before) -> None:
            nonlocal done
            done = before + step
            on_step(done, losses)

        own_seed = seeds.derive_seed(seed, SCOPE, stage.name)
        networks[stage.name] = strategy.fit(
            sites_of_stage(sites, stage, stages),
            build_of(stage, own_seed),
            seed=own_seed,
            member=member,
            on_step=heard,
        )
    return InStages(stages, networks).eval()


def sites_of_stage(sites: Consortium, stage: Stage, stages: Sequence[Stage]) -> Consortium:
    """Return what a strategy may see of each site while it learns one stage."""
    return {
        name: Site(
            real=None if site.real is None else stage.select(site.real),
            synthetic=None if site.synthetic is None else stage.select(site.synthetic),
            validate=_judge_alone(site.validate, stage, stages),
        )
        for name, site in sites.items()
    }


def _judge_alone(validate: Validator, stage: Stage, stages: Sequence[Stage]) -> Validator:
    """Return a site's offer to try networks of one stage.

    The site is asked about all classes, as ever. Other stages answer anything alike, so all that
    its loss depends on is how the network does on the scans that its question is about.
    """

    def validate_stage(networks: Sequence[nn.Module]) -> ValidationScore:
        # In the mode that the network is in, which is the one it is left in.
        return validate(
            [
                InStages(stages, {stage.name: network}).train(network.training)
                for network in networks
            ]
        )

    return validate_stage
