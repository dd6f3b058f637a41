"""The cosine transform of latents."""

import torch

from sitesynth.generators.spectrum import cosine_basis, from_frequencies, to_frequencies


def test_the_basis_is_orthonormal() -> None:
    """White noise stays white, and lengths stay lengths."""
    basis = cosine_basis(7)

    torch.testing.assert_close(basis @ basis.T, torch.eye(7), atol=1e-6, rtol=0)


def test_a_constant_has_the_lowest_frequency_only() -> None:
    """Frequency 0 of a constant 1 on 4 x 4 places is sqrt(16), all others are 0."""
    bases = [cosine_basis(4), cosine_basis(4)]
    found = to_frequencies(torch.ones(1, 1, 4, 4), bases)
    expected = torch.zeros(1, 1, 4, 4)
    expected[0, 0, 0, 0] = 4.0

    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_the_transform_can_be_undone() -> None:
    """In three dimensions with three sizes, each axis with its own basis."""
    latents = torch.rand(2, 3, 4, 6, 2)
    bases = [cosine_basis(size) for size in (4, 6, 2)]

    there = to_frequencies(latents, bases)
    torch.testing.assert_close(from_frequencies(there, bases), latents, atol=1e-5, rtol=0)
