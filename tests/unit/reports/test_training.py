"""The section on trainings, where a rival stands in a flow's place."""

from dataclasses import replace

from sitesynth.reports.data_sections import training_section
from sitesynth.reports.page import Gallery, Items
from sitesynth.reports.study import Results, Study


def test_a_rival_has_no_loss_by_noise_level(study: Study, results: Results) -> None:
    """The page says so, and what is known instead; no empty gallery stays behind."""
    cards = {
        site: {
            **card,
            "flow_losses": {},
            "variant": "gan",
            "variant_losses": {"train": {"critic": 1.25}, "validation": {"critic": 0.5}},
        }
        for site, card in results.cards.items()
    }
    section = training_section(study, replace(results, cards=cards))
    galleries = {block.title: block for block in section.blocks if isinstance(block, Gallery)}
    (said,) = [block for block in section.blocks if isinstance(block, Items)]

    assert "Flows, by noise level" not in galleries
    assert any("gan over latents: loss" in shown.alt for shown in galleries["Generators"].figures)
    assert dict(said.items) == dict.fromkeys(
        study.sites.training, "not applicable: a gan; critic, train: 1.25; critic, validation: 0.5"
    )


def test_a_flow_is_shown_as_before(study: Study, results: Results) -> None:
    """With its loss at each noise level, and no word of variants."""
    section = training_section(study, results)
    titles = [block.title for block in section.blocks if isinstance(block, Gallery)]

    assert titles == ["Generators", "Flows, by noise level", "Classifiers"]
    assert not [block for block in section.blocks if isinstance(block, Items)]
