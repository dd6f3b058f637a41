"""Learning findings side by side: what is unknown adds nothing, and what is rare counts alike."""

import torch
from torch import nn

from sitesynth.classifiers.training import (
    Examples,
    classification_loss,
    predict,
    score_findings,
    stress_of,
)


def examples(labels: list[list[int]]) -> Examples:
    count = len(labels)
    return Examples(
        torch.zeros(count, 1, 4, 4),
        torch.ones(count, 1, dtype=torch.bool),
        torch.tensor(labels),
        torch.ones(count, dtype=torch.float64),
    )


def test_with_and_without_count_alike() -> None:
    """One of four has it: its loss counts 2, and that of each of the three others 2/3."""
    stress = stress_of(examples([[1], [0], [0], [0]]))

    assert torch.allclose(stress, torch.tensor([[2 / 3], [2.0]]))


def test_a_finding_that_all_have_says_nothing() -> None:
    assert stress_of(examples([[1, 0], [1, 1]]))[:, 0].tolist() == [0.0, 0.0]


def test_what_is_unknown_adds_no_loss_and_no_gradient() -> None:
    logits = torch.tensor([[0.3, -2.0], [1.0, 5.0]], requires_grad=True)
    labels = torch.tensor([[1, -1], [0, 1]])
    classification_loss(logits, labels, torch.ones(2, 2)).backward()

    assert logits.grad is not None
    assert logits.grad[0, 1] == 0.0
    assert (logits.grad.flatten()[[0, 2, 3]] != 0).all()


def test_classes_are_learned_as_before() -> None:
    logits, labels = torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])

    assert torch.equal(
        classification_loss(logits, labels, None), nn.functional.cross_entropy(logits, labels)
    )


def test_probabilities_of_findings_are_of_each_alone() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    nn.init.zeros_(model.get_parameter("1.weight"))
    nn.init.constant_(model.get_parameter("1.bias"), 2.0)
    alone = predict(model, torch.zeros(3, 1, 2, 2), side_by_side=True)

    assert torch.allclose(alone, torch.full((3, 2), 2.0).sigmoid())
    assert torch.allclose(predict(model, torch.zeros(3, 1, 2, 2)), torch.full((3, 2), 0.5))


def test_validation_counts_with_and_without_alike_and_skips_the_unknown() -> None:
    """By hand: -ln .8 of the one with, the mean of -ln .5 and -ln .5 of those without."""
    chances = torch.tensor([[0.8], [0.5], [0.5], [0.01]])
    told = score_findings(chances, torch.tensor([[1], [0], [0], [-1]]))

    expected = (-torch.tensor(0.8).log() - torch.tensor(0.5).log()) / 2
    assert abs(told.loss - float(expected)) < 1e-6
    assert told.num_scans == 4
