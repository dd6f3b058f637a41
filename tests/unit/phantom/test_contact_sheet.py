"""The picture for people."""

from sitesynth.phantom.attributes import TUMOUR_TYPES
from sitesynth.phantom.consortium import draw_patients
from sitesynth.phantom.contact_sheet import choose_patients, draw_sheet
from sitesynth.settings import PhantomSettings, PhantomSiteSettings


def test_every_type_has_its_rows_in_order(settings: PhantomSettings) -> None:
    chosen = choose_patients(draw_patients("ash", settings, seed=3), num_per_type=2)

    assert [p.tumour_type for p in chosen] == [name for name in TUMOUR_TYPES for _ in range(2)]


def test_a_sheet_has_a_panel_per_sequence_and_one_for_the_mask(
    settings: PhantomSettings, site: PhantomSiteSettings
) -> None:
    figure = draw_sheet(draw_patients("ash", settings, seed=3)[:1], site, seed=3)

    assert [panel.get_title() for panel in figure.axes] == ["t1", "t1c", "t2", "flair", "mask"]
