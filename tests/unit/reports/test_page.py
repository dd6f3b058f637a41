"""The page says everything, loads nothing, and can be read without seeing it."""

import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from ruamel.yaml import YAML

from sitesynth.lockfile import read_lock
from sitesynth.reports.findings import Finding, Verdict
from sitesynth.reports.numbers import (
    show_interval,
    show_p,
    show_percent,
    show_score,
    show_signed,
)
from sitesynth.reports.page import Items, Page, Section, data_uri, render_page
from sitesynth.reports.run_links import links_of, search_url
from sitesynth.reports.sections import build_page
from sitesynth.reports.study import Results, Study
from tests.unit.reports.fake_study import TRAINING, fake_study, write_fake_results


ROOT = Path(__file__).parents[3]
MOST_BYTES = 2_500_000


class Tags(HTMLParser):
    """Collects what a page's tags say."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember a tag."""
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Remember text."""
        self.text.append(data)


@pytest.fixture(scope="module")
def html(study: Study, results: Results) -> str:
    """Return the page of the fabricated study."""
    runs = {"compare": {"compare": "runs/7"}, "preprocess": {"a": "runs/8", "b": "runs/9"}}
    return render_page(build_page(study, results), runs=runs)


@pytest.fixture(scope="module")
def tags(html: str) -> Tags:
    """Return the same, taken apart."""
    return Tags(html)


def values_of(found: Any) -> Iterator[Mapping[str, float | None]]:
    """Yield every `V` below some JSON."""
    if isinstance(found, dict):
        if set(found) == {"value", "low", "high"}:
            yield found
        else:
            for entry in found.values():
                yield from values_of(entry)
    elif isinstance(found, list):
        for entry in found:
            yield from values_of(entry)


def test_every_number_of_the_comparison_is_on_the_page(results: Results, tags: Tags) -> None:
    """Values, interval ends and p-values of all strategies, sites and comparisons."""
    said = " ".join(tags.text)
    levels = list(values_of(results.comparison["strategies"]))
    differences = list(values_of(results.comparison["comparisons"]))

    assert len(levels) > 100
    assert not [v for v in levels if show_score(v["value"]) not in said]
    assert not [v for v in levels if show_interval(v, is_signed=False) not in said]
    assert not [v for v in differences if show_signed(v["value"]) not in said]
    assert not [v for v in differences if show_interval(v, is_signed=True) not in said]
    for entry in results.comparison["comparisons"]:
        for p in ("delong_p", "delong_p_holm", "mcnemar_p", "mcnemar_p_corrected"):
            assert show_p(entry[p]) in said


def test_the_main_table_has_the_papers_rows_in_percent(results: Results, tags: Tags) -> None:
    """Four rows per strategy: accuracy, sensitivity and specificity in percent, and the AUC."""
    said = " ".join(tags.text)
    for found in results.comparison["strategies"].values():
        for scope in (found["overall"], *found["sites"].values()):
            for metric in ("accuracy", "sensitivity", "specificity"):
                assert show_percent(scope[metric]["value"]) in said
    assert said.count("SEN (mutant), %") == len(results.comparison["strategies"])


def test_nothing_is_loaded_from_anywhere(html: str, tags: Tags) -> None:
    """Every source is in the page; a link is only followed by whoever clicks it."""
    loading = [
        attributes.get("src") or attributes.get("href") or ""
        for tag, attributes in tags.found
        if tag in {"img", "link", "script", "iframe", "source", "use", "image"}
    ]

    assert loading
    assert not [address for address in loading if not address.startswith("data:")]
    assert not [tag for tag, _ in tags.found if tag in {"script", "iframe"}]
    assert not re.search(r"@import|url\(\s*['\"]?http", html)


def test_every_figure_has_an_alternative_text(tags: Tags) -> None:
    """And it says more than a file's name."""
    alternatives = [attributes.get("alt") for tag, attributes in tags.found if tag == "img"]

    assert len(alternatives) > 20
    assert not [alt for alt in alternatives if alt is None or len(alt) < 30]


def test_the_page_is_light(html: str) -> None:
    """It can be sent by mail."""
    assert len(html.encode()) < MOST_BYTES


def test_links_within_the_page_lead_somewhere(tags: Tags) -> None:
    """Every anchor of the navigation is a section's."""
    wanted = {
        (attributes.get("href") or "")[1:]
        for tag, attributes in tags.found
        if tag == "a" and (attributes.get("href") or "").startswith("#")
    }
    there = {attributes.get("id") for _, attributes in tags.found}

    assert wanted <= there
    assert {"answer", "results", "roc", "images", "training", "cost", "reproduce"} <= wanted


def test_a_figure_links_to_its_runs_if_there_are_any(tags: Tags) -> None:
    """The stage `compare` was given an address, `preprocess` two, and the others none."""
    links = {attributes.get("href") for tag, attributes in tags.found if tag == "a"}

    assert {"runs/7", "runs/8", "runs/9"} <= links
    assert "run train_autoencoder" in [text.strip() for text in tags.text]


def test_every_figure_links_to_runs_of_the_committed_lock(study: Study, results: Results) -> None:
    """Every figure has at least one, and no id, path or time that another clone would not have."""
    page = build_page(study, results)
    links = links_of(page, read_lock(ROOT / "dvc.lock"))
    figures = render_page(page, runs=links).split("<figure>")[1:]
    stages = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]

    assert len(figures) > 20
    for figure in figures:
        assert '<a class="run" href="http://127.0.0.1:5000/#/experiments/1/runs?' in figure
    assert {stage.partition("@")[0] for stage in links} <= set(stages)
    assert set(links["train_diffusion"]) == {f"train_diffusion@{site}" for site in TRAINING}


def test_a_link_asks_for_the_run_that_made_what_the_lock_says() -> None:
    """As MLflow 3.17 reads its addresses; a shared filter is escaped whole."""
    fragment = urlsplit(search_url("http://h", "7", "evaluate@synthetic", "c0ffee")).fragment

    assert urlsplit(fragment).path == "/experiments/7/runs"
    assert dict(parse_qsl(urlsplit(fragment).query)) == {
        "searchFilter": 'tags.dvc_stage = "evaluate@synthetic" and tags.made = "c0ffee" and '
        'tags.made_last = "true"',
        "orderByKey": "tags.`mlflow.runName`",
        "orderByAsc": "true",
    }
    assert not set('"` @') & set(fragment)


def test_no_patient_is_named(html: str, results: Results) -> None:
    """Scans and patients have ids in every table that was read, and none on the page."""
    names = {
        name
        for images in (*results.images.values(), *results.synthetic.values())
        for name in images.table["scan_id"]
    } | set(results.predictions["centralized"].patients)

    assert len(names) > 60
    assert not [name for name in names if name in html]


def test_the_reference_comes_first_then_sites_alone_and_baselines_last(results: Results) -> None:
    """So that the strategies of the question share a screen."""
    order = results.comparison["order"]["strategies"]

    assert order[0] == "centralized"
    assert order[-5:-2] == ["local-alder", "local-birch", "local-cedar"]
    assert order[-2:] == ["baseline-covariates", "baseline-site"]
    assert list(results.predictions) == order


def test_the_first_screen_says_what_can_be_told_without_a_network(
    study: Study, results: Results
) -> None:
    """So that no AUC is read without what it has to exceed."""
    (told,) = [
        caveat
        for caveat in build_page(study, results).caveats
        if caveat.startswith("What can be told without a network")
    ]

    assert "baseline-covariates 0." in told
    assert told.endswith("baseline-site 0.500 (0.500 to 0.500).")


def test_how_to_reproduce_it_names_commit_study_and_test_set(
    study: Study, results: Results, tags: Tags
) -> None:
    """Whoever has the page can make it again."""
    said = " ".join(tags.text)

    assert f"git checkout {study.commit}" in said
    assert f"sitesynth study use {study.name}" in said
    assert results.comparison["test_sha256"] in said


def test_pictures_of_patients_are_announced(tmp_path: Path) -> None:
    """A study of real scans in two dimensions says that it shows them; a phantom, that not."""
    real = fake_study(grid=(8, 8), is_phantom=False)
    found = write_fake_results(tmp_path, real, num_patients=40)
    said = " ".join(Tags(render_page(build_page(real, found), runs={})).text)

    assert "This page shows scans of patients" in said
    assert "phantom" not in said
    assert "sagittal" not in said


def test_what_a_table_says_cannot_become_markup() -> None:
    """A site may call its scanner what it likes."""
    page = Page(
        title="t",
        study="s",
        question="q",
        finding=Finding(Verdict.UNDEFINED, "a"),
        caveats=[],
        key_figures=[],
        sections=[Section("x", "x", "", [Items("", [("scanner", "<script>alert(1)</script>")])])],
    )
    html = render_page(page, runs={})

    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_a_data_uri_holds_no_character_that_ends_an_attribute() -> None:
    """Quotes, brackets, hashes and percent signs are escaped, so nothing ends early."""
    uri = data_uri('<svg a="1">#%&</svg>')

    assert not set('"<>#&') & set(uri.removeprefix("data:"))
    assert uri.startswith("data:image/svg+xml,")
