"""Latent attributes and their physical ranges."""

from dataclasses import asdict

import numpy as np
import pytest

from sitesynth.phantom.attributes import ATTRIBUTES, TUMOUR_TYPES, class_means, look_of


def test_a_look_lies_half_way_where_every_attribute_has_its_middle() -> None:
    """The normal distribution function is 1/2 at 0."""
    look = asdict(look_of(np.array([attribute.middle for attribute in ATTRIBUTES])))

    assert look == pytest.approx({a.name: (a.low + a.high) / 2 for a in ATTRIBUTES})


def test_every_physical_value_grows_with_its_own_latent_value_alone() -> None:
    """So the likelihood ratio of z is that of the looks."""
    base = asdict(look_of(np.zeros(len(ATTRIBUTES))))
    for index, attribute in enumerate(ATTRIBUTES):
        raised = asdict(look_of(np.eye(len(ATTRIBUTES))[index]))

        assert raised.pop(attribute.name) > base[attribute.name]
        assert raised == {name: base[name] for name in raised}


def test_physical_values_stay_in_their_ranges_at_any_latent_value() -> None:
    for extreme in (-40.0, 40.0):
        look = asdict(look_of(np.full(len(ATTRIBUTES), extreme)))

        assert look == {a.name: pytest.approx(a.low if extreme < 0 else a.high) for a in ATTRIBUTES}


def test_separation_scales_the_distance_between_types() -> None:
    np.testing.assert_allclose(class_means(3.0), 3.0 * class_means(1.0))


def test_types_differ_as_radiology_says() -> None:
    """Wild type enhances, is necrotic and swells; mismatch is the astrocytoma's sign."""
    means = dict(zip([a.name for a in ATTRIBUTES], class_means(1.0).T, strict=True))
    largest = {name: TUMOUR_TYPES[int(column.argmax())] for name, column in means.items()}

    assert largest["enhancement"] == largest["necrosis"] == "glioblastoma"
    assert largest["oedema_mm"] == "glioblastoma"
    assert largest["mismatch"] == "astrocytoma"
    assert largest["heterogeneity"] == "oligodendroglioma"
    assert TUMOUR_TYPES[int(means["depth_mm"].argmin())] == "oligodendroglioma"
