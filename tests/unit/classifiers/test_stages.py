"""Stages multiply to classes, and each learns and is judged on its own classes alone."""

import pytest
import torch
from torch import nn

from sitesynth.classifiers.stages import InStages, Stage, number_stages
from sitesynth.classifiers.training import Examples, balance, predict, score
from sitesynth.settings import StageSettings


CLASSES = ("glioblastoma", "astrocytoma", "oligodendroglioma")
STAGES = number_stages(
    [
        StageSettings(name="idh", groups=(("glioblastoma",), ("astrocytoma", "oligodendroglioma"))),
        StageSettings(name="codeletion", groups=(("astrocytoma",), ("oligodendroglioma",))),
    ],
    CLASSES,
)


class Says(nn.Module):
    """Gives every scan the same probabilities, which its brightness may turn round."""

    def __init__(self, *chances: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(chances).log())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits, in the other order for scans brighter than 10."""
        is_bright = images.flatten(1).mean(dim=1, keepdim=True) > 10
        return torch.where(is_bright, self.logits.flip(0), self.logits)


def examples(labels: list[int], brightness: list[float]) -> Examples:
    images = torch.tensor(brightness).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    numbers = torch.tensor(labels)
    presence = torch.ones(len(labels), 1, dtype=torch.bool)
    return Examples(images, presence, numbers, balance(numbers))


def test_a_classs_probability_is_the_product_of_its_groups() -> None:
    """0.6 glioblastoma; of the 0.4 that are mutant, a quarter and three quarters."""
    model = InStages(STAGES, {"idh": Says(0.6, 0.4), "codeletion": Says(0.25, 0.75)})

    found = predict(model, torch.zeros(2, 1, 2, 2))

    torch.testing.assert_close(found, torch.tensor([[0.6, 0.1, 0.3]]).expand(2, 3))


def test_a_stage_sees_its_own_classes_by_the_number_of_their_group() -> None:
    """No glioblastoma is in the second; weights, by which each class counts alike, stay."""
    pool = examples([0, 0, 1, 2, 2], [1.0, 2.0, 3.0, 4.0, 5.0])

    first, second = (stage.select(pool) for stage in STAGES)

    assert first.labels.tolist() == [0, 0, 1, 1, 1]
    assert second.labels.tolist() == [0, 1, 1]
    assert second.images[:, 0, 0, 0].tolist() == [3.0, 4.0, 5.0]
    assert second.weights.tolist() == [1.0, 0.5, 0.5]


@pytest.mark.parametrize("brightness", [0.0, 20.0])
def test_a_stage_is_judged_by_its_own_classes_alone(brightness: float) -> None:
    """What the second stage says of a glioblastoma does not change its loss."""
    network = Says(0.9, 0.1)
    held_out = examples([0, 1, 2], [brightness, 0.0, 0.0])

    found = score([InStages(STAGES, {"codeletion": network})], held_out, positive=None)

    # The first stage guesses: half for glioblastoma, half for the mutant, by 0.9 and 0.1.
    expected = -torch.tensor([0.5, 0.5 * 0.9, 0.5 * 0.1]).log().mean()
    assert found.loss == pytest.approx(float(expected), abs=1e-6)


def test_classes_that_stages_do_not_name_in_order_keep_their_numbers() -> None:
    (stage,) = number_stages(
        [StageSettings(name="one", groups=(("b",), ("a", "c")))], ("a", "b", "c")
    )

    assert stage == Stage("one", ((1,), (0, 2)))
