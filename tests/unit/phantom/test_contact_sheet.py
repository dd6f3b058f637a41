"""The picture for people."""

from dataclasses import replace

from sitesynth.phantom.attributes import TUMOUR_TYPES, class_means
from sitesynth.phantom.consortium import draw_patients
from sitesynth.phantom.contact_sheet import choose_patients, draw_sheet
from sitesynth.settings import PhantomSettings, PhantomSiteSettings


def test_the_clearest_of_every_type_come_first(settings: PhantomSettings) -> None:
    """Nobody is clearer than whoever lies ten times as far out as the mean of the type."""
    patients = draw_patients("ash", settings, seed=3)
    means = class_means(settings.separation)
    extreme = [
        replace(patients[0], patient_id=name, tumour_type=name, attributes=tuple(far.tolist()))
        for name, far in zip(TUMOUR_TYPES, 10.0 * (means - means.mean(axis=0)), strict=True)
    ]
    chosen = choose_patients([*patients, *extreme], num_per_type=2, separation=settings.separation)

    assert [p.tumour_type for p in chosen] == [name for name in TUMOUR_TYPES for _ in range(2)]
    assert [p.patient_id for p in chosen[::2]] == list(TUMOUR_TYPES)


def test_a_sheet_has_a_panel_per_sequence_and_one_for_the_mask(
    settings: PhantomSettings, site: PhantomSiteSettings
) -> None:
    figure = draw_sheet(draw_patients("ash", settings, seed=3)[:1], site, seed=3)

    assert [panel.get_title() for panel in figure.axes] == ["t1", "t1c", "t2", "flair", "mask"]
