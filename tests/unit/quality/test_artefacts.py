"""Noise, blur and grain of known amounts, planted in stacks of slices."""

import numpy as np
import pytest
from scipy import ndimage

from sitesynth.quality.artefacts import ARTEFACTS, edge_sharpness, fine_power, noise_level


SHAPE = (8, 32, 28)


def anatomy(rng: np.random.Generator, *, blur: float = 0.0) -> np.ndarray:
    """Return slices of bright ellipses with sharp borders on a slow gradient."""
    rows, columns = np.indices(SHAPE[1:])
    slices = np.zeros(SHAPE)
    slices += 60 + rows
    for image in slices:
        for _ in range(6):
            centre, radii = rng.uniform(4, 26, 2), rng.uniform(3, 8, 2)
            inside = ((rows - centre[0]) / radii[0]) ** 2 + ((columns - centre[1]) / radii[1]) ** 2
            image[inside < 1] += rng.uniform(20, 60)
    blurred: np.ndarray = ndimage.gaussian_filter(slices, (0, blur, blur))
    return blurred


def whole(stack: np.ndarray) -> np.ndarray:
    return np.ones(stack.shape, dtype=bool)


def scores(measure: str, stacks: list[np.ndarray]) -> list[float]:
    found = [ARTEFACTS[measure](stack, whole(stack)) for stack in stacks]
    assert None not in found
    return [value for value in found if value is not None]


@pytest.fixture
def numpy_rng() -> np.random.Generator:
    return np.random.default_rng(4)


def test_noise_has_the_level_that_was_planted(numpy_rng: np.random.Generator) -> None:
    """On a ramp, which the filter does not let pass: nothing but the noise is left."""
    ramp = np.indices(SHAPE).sum(axis=0).astype(float)
    for sigma in (0.0, 0.5, 4.0, 12.0):
        noisy = ramp + sigma * numpy_rng.standard_normal(SHAPE)

        assert noise_level(noisy, whole(noisy)) == pytest.approx(sigma, rel=0.04, abs=1e-9)


def test_noise_levels_are_ordered_in_anatomy_too(numpy_rng: np.random.Generator) -> None:
    clean, noise = anatomy(numpy_rng), numpy_rng.standard_normal(SHAPE)
    found = scores("noise_level", [clean + sigma * noise for sigma in (0, 2, 5, 10)])

    assert found == sorted(found)
    assert found[3] - found[0] > 5


@pytest.mark.parametrize("blur", [0.8, 1.2, 2.0])
@pytest.mark.parametrize("height", [10.0, 100.0])
def test_a_blurred_step_is_as_sharp_as_its_blur_says(blur: float, height: float) -> None:
    """Whatever its height: contrast is no sharpness."""
    step = np.zeros((4, 40, 40))
    step[:, :, 20:] = height
    blurred = ndimage.gaussian_filter(step, (0, 0, blur))
    expected = np.sqrt((2 * blur**2 + 2 * 1.4**2) / (2 * blur**2 + 1.4**2 + 0.7**2))

    assert edge_sharpness(blurred, whole(blurred)) == pytest.approx(expected, abs=0.006)


def test_sharpness_falls_with_blur_in_anatomy_too(numpy_rng: np.random.Generator) -> None:
    """And a little noise, which makes everything look sharper, does not change the order."""
    seed = int(numpy_rng.integers(1000))
    noise = 3 * numpy_rng.standard_normal(SHAPE)
    blurs = (0.0, 0.5, 1.0, 1.5)
    stacks = [anatomy(np.random.default_rng(seed), blur=blur) for blur in blurs]
    found = scores("edge_sharpness", stacks)
    noisy = scores("edge_sharpness", [stack + noise for stack in stacks])

    assert found == sorted(found, reverse=True)
    assert found[0] - found[3] > 0.1
    assert noisy == sorted(noisy, reverse=True)


def test_white_noise_is_sharper_than_any_edge(numpy_rng: np.random.Generator) -> None:
    """(2 x 1.96 / (1.96 + 0.49)) squared: its gradients at two scales are two filters of it."""
    noise = numpy_rng.standard_normal((16, 64, 64))

    assert edge_sharpness(noise, whole(noise)) == pytest.approx(2.56, abs=0.08)


def test_a_ramp_is_as_sharp_at_either_scale() -> None:
    ramp = np.indices(SHAPE).sum(axis=0).astype(float)

    assert edge_sharpness(ramp, whole(ramp)) == pytest.approx(1)


def test_white_noise_has_its_power_evenly_over_frequencies(numpy_rng: np.random.Generator) -> None:
    """Of 63 frequencies of a patch of 8 by 8 without its mean, 51 lie beyond 2 eighths."""
    frequencies = np.hypot(*np.meshgrid(np.fft.fftfreq(8, 1 / 8), np.fft.fftfreq(8, 1 / 8)))
    beyond = int((frequencies > 2).sum())
    noise = numpy_rng.standard_normal((64, 64, 64))

    assert beyond == 51
    # The mean is taken off before the window, which then leaks a little of the lowest ones.
    assert fine_power(noise, whole(noise)) == pytest.approx(10 * np.log10(beyond / 63), abs=0.15)


def test_grain_raises_fine_power_and_blur_lowers_it(numpy_rng: np.random.Generator) -> None:
    """A checkerboard of one, two and four grey levels, and three blurs."""
    seed = int(numpy_rng.integers(1000))
    clean = anatomy(np.random.default_rng(seed), blur=0.7)
    board = (-1.0) ** np.indices(SHAPE).sum(axis=0)
    grainy = scores("fine_power", [clean + height * board for height in (0, 1, 2, 4)])
    blurred = scores(
        "fine_power", [anatomy(np.random.default_rng(seed), blur=b) for b in (0.7, 1.0, 1.5)]
    )

    assert grainy == sorted(grainy)
    assert grainy[3] > grainy[0] + 1
    assert blurred == sorted(blurred, reverse=True)


def test_brightness_and_contrast_change_neither_sharpness_nor_fine_power(
    numpy_rng: np.random.Generator,
) -> None:
    clean = anatomy(numpy_rng, blur=0.7)
    for measure in ("edge_sharpness", "fine_power"):
        one, other = scores(measure, [clean, 0.3 * clean + 20])
        assert one == pytest.approx(other)


@pytest.mark.parametrize("measure", ARTEFACTS)
def test_what_lies_outside_the_mask_does_not_count(
    measure: str, numpy_rng: np.random.Generator
) -> None:
    clean = anatomy(numpy_rng)
    mask = np.zeros(SHAPE, dtype=bool)
    mask[:, 4:28, 4:24] = True
    other = np.where(mask, clean, numpy_rng.uniform(0, 255, SHAPE))

    assert ARTEFACTS[measure](other, mask) == pytest.approx(ARTEFACTS[measure](clean, mask))


@pytest.mark.parametrize("measure", ARTEFACTS)
def test_too_little_mask_has_no_score(measure: str, numpy_rng: np.random.Generator) -> None:
    clean = anatomy(numpy_rng)[:1]
    mask = np.zeros(clean.shape, dtype=bool)
    mask[:, 10:15, 10:15] = True

    assert ARTEFACTS[measure](clean, mask) is None
    assert ARTEFACTS[measure](clean[:, :6, :6], whole(clean[:, :6, :6])) is None


def test_a_blank_slice_has_no_edge_and_no_power() -> None:
    """And no noise. A collapsed generator draws such; the audit must not end there."""
    blank = np.full(SHAPE, 100.0)

    assert noise_level(blank, whole(blank)) == 0
    assert edge_sharpness(blank, whole(blank)) is None
    assert fine_power(blank, whole(blank)) is None
