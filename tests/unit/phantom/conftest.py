"""A consortium of two hospitals with coarse voxels, so that a scan takes milliseconds."""

import pytest

from sitesynth.settings import PhantomSettings, PhantomSiteSettings


@pytest.fixture
def site() -> PhantomSiteSettings:
    """Return a scanner that adds nothing: no bias field, no blur, no noise."""
    return PhantomSiteSettings(
        num_patients=40,
        mutant_fraction=0.4,
        mean_age_shift=0.0,
        contrast=1.0,
        bias_field=0.0,
        noise=0.0,
        blur_mm=0.0,
        spacing_mm=(5.0, 5.0, 8.0),
        orientation="RAS",
        scanner="Ideal",
        field_strength_t=3.0,
        missing_fraction=0.5,
    )


@pytest.fixture
def settings(site: PhantomSiteSettings) -> PhantomSettings:
    """Return two sites that differ in prevalence alone."""
    return PhantomSettings(
        separation=1.0,
        astrocytoma_fraction=0.5,
        sites={"ash": site, "beech": site.model_copy(update={"mutant_fraction": 0.75})},
    )
