"""The page says what the check found, and needs nothing but itself."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from sitesynth.cohorts.data_docs import render_page


@pytest.fixture
def result() -> dict[str, Any]:
    """A check of two scans, the second of which cannot be read."""
    good = {
        "path": "a.nii.gz",
        "shape": "6 x 5 x 4",
        "spacing_mm": (2.0, 2.0, 3.0),
        "orientation": "RAS",
        "low": 0.0,
        "high": 99.0,
        "foreground_fraction": 0.25,
        "voxel_sha256": "0123456789abcdef" * 4,
    }
    rule = {
        "step": "replace the file",
        "subject": "files",
        "expectation": "ExpectColumnValuesToBeNull",
        "arguments": {"column": "error"},
        "num_checked": 2,
    }
    return {
        "site": "alder",
        "role": "training",
        "success": False,
        "num_scans": 2,
        "num_patients": 1,
        "groups": [{"group": "all patients", "num_patients": 1, "at_least": 1}],
        "columns": ["t1"],
        "quarantine": [],
        "outliers": [],
        "rules": [
            rule | {"rule": "A rule that holds", "failures": []},
            rule
            | {
                "rule": "Every file can be read",
                "failures": [{"place": "scan 's2', t1 <b>.nii", "value": "error = no & no"}],
            },
        ],
        "scans": [
            {
                "scan_id": scan,
                "patient_id": "p1",
                "split": "",
                "values": {"idh": "mutant", "age": ""},
                "files": {"t1": file},
            }
            for scan, file in (("s1", good), ("s2", {"path": "b.nii.gz", "error": "truncated"}))
        ],
    }


def test_the_page_loads_nothing(result: dict[str, Any]) -> None:
    """It is read in hospitals whose machines reach no network."""
    page = render_page(result, thumbnails={("s1", "t1"): "data:image/png;base64,iVBO//8="})
    assert page.count('<img src="data:image/png;base64,iVBO//8=" alt="t1 of s1">') == 1
    page = page.replace('src="data:image/png;base64,iVBO//8="', "")

    assert not re.search(r"https?:|//|\bsrc=|\bhref=|url\(|@import|<script|<link", page)


def test_what_failed_comes_before_what_holds(result: dict[str, Any]) -> None:
    page = render_page(result, thumbnails={})

    places = [
        page.index(text)
        for text in ("1 of 2 rules broken", "To do: replace the file", "A rule that holds")
    ]
    assert places == sorted(places)


def test_what_a_table_says_is_shown_and_not_run(result: dict[str, Any]) -> None:
    page = render_page(result, thumbnails={})

    assert "<b>" not in page
    assert "&lt;b&gt;.nii" in page
    assert "no &amp; no" in page


def test_every_tag_that_opens_closes(result: dict[str, Any]) -> None:
    class Balance(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag != "meta":
                self.open.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

    balance = Balance()
    balance.feed(render_page(result, thumbnails={}))

    assert balance.open == []


def test_scans_that_were_drawn_are_shown(result: dict[str, Any]) -> None:
    page = render_page(result, thumbnails={("s1", "t1"): "data:,"})

    assert "A look at 1 of 2 scans" in page
    assert page.index("A look at") < page.index("A rule that holds")
    assert "A look at" not in render_page(result, thumbnails={})


def test_a_missing_sequence_is_a_row_of_its_own(result: dict[str, Any]) -> None:
    result["scans"][0]["files"] = {}

    assert '<td class="quiet" colspan="10">missing</td>' in render_page(result, thumbnails={})
