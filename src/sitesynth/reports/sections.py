"""The page of a study: its answer, and its sections in their order."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from sitesynth.reports.audit_sections import (
    conditions_section,
    privacy_section,
    quality_section,
)
from sitesynth.reports.class_sections import class_sections
from sitesynth.reports.data_sections import data_section, images_section, training_section
from sitesynth.reports.exchange_tables import exchange_table, registry_table, scale_table
from sitesynth.reports.figures import Line, draw_lines
from sitesynth.reports.findings import answer, find_comparison, question, subject_of
from sitesynth.reports.mixing_section import mixing_section
from sitesynth.reports.numbers import show_bytes, show_interval, show_score
from sitesynth.reports.page import Gallery, Items, KeyFigure, Listing, Page, Section
from sitesynth.reports.panels import strategy_styles
from sitesynth.reports.result_sections import (
    calibration_section,
    comparisons_section,
    numbers_section,
    results_section,
    roc_section,
    seeds_section,
)
from sitesynth.reports.study import LOCAL, Results, Study
from sitesynth.reports.subgroup_sections import subgroups_section
from sitesynth.reports.supplementation_section import supplementation_sections
from sitesynth.reports.too_few import tell_too_few
from sitesynth.settings import BASELINES


__all__ = ["build_page"]


def build_page(study: Study, results: Results) -> Page:
    """Arrange everything a finished study has to say."""
    return Page(
        title=f"sitesynth: {study.name}",
        study=study.name,
        question=question(results.comparison, training=study.sites.training),
        finding=answer(results.comparison),
        caveats=list(_caveats(study, results)),
        key_figures=_key_figures(results),
        sections=[
            results_section(study, results),
            *class_sections(results),
            roc_section(study, results),
            calibration_section(results),
            comparisons_section(results),
            seeds_section(results),
            subgroups_section(results),
            images_section(study, results),
            quality_section(results),
            conditions_section(study, results),
            privacy_section(study, results),
            mixing_section(study, results),
            *supplementation_sections(results),
            training_section(study, results),
            _cost(results),
            data_section(study, results),
            _registry(results),
            numbers_section(results),
            _reproduction(study, results),
        ],
    )


def _caveats(study: Study, results: Results) -> Iterator[str]:
    """Yield what else the first screen must say."""
    yield from tell_too_few(results)
    comparison = results.comparison
    subject = subject_of(comparison)
    for entry in comparison["comparisons"]:
        is_aside = entry["a"].startswith(LOCAL) or entry["a"] in BASELINES
        if entry["b"] == comparison["reference"] and entry["a"] != subject and not is_aside:
            yield entry["statement"]
    yield from _without_a_network(comparison)
    entry = None if subject is None else find_comparison(comparison, subject)
    if entry is not None and entry["detectable_difference"] is not None:
        detectable = show_score(entry["detectable_difference"])
        yield (
            f"With these patients, a true difference of {detectable} in AUC would have been found "
            "significant in 80 % of studies; smaller ones would often be missed."
        )
    if study.is_phantom:
        yield (
            "The patients are phantoms, made up with known truth: this shows how the method "
            "behaves, and is no clinical evidence."
        )


def _without_a_network(comparison: Mapping[str, Any]) -> Iterator[str]:
    """Say what the baselines reach: a strategy's AUC is worth what it has beyond theirs."""
    told = []
    for name in comparison["order"]["strategies"]:
        if name in BASELINES:
            value = comparison["strategies"][name]["overall"]["auc"]
            told.append(
                f"{name} {show_score(value['value'])} ({show_interval(value, is_signed=False)})"
            )
    if told:
        yield f"What can be told without a network, AUC: {'; '.join(told)}."


def _key_figures(results: Results) -> list[KeyFigure]:
    """Return the AUCs to be seen first; the sites alone as their mean."""
    strategies = results.comparison["strategies"]
    found = []
    local = []
    for name in results.comparison["order"]["strategies"]:
        value = strategies[name]["overall"]["auc"]
        if name.startswith(LOCAL):
            local.append(value["value"])
        elif name not in BASELINES:
            note = show_interval(value, is_signed=False)
            found.append(KeyFigure(name, show_score(value["value"]), note))
    known = [value for value in local if value is not None]
    if known:
        mean = KeyFigure(
            "one hospital alone", show_score(float(np.mean(known))), f"mean of {len(known)}"
        )
        found.append(mean)
    return found


def _cost(results: Results) -> Section:
    exchange = results.exchange
    federated, one_shot = exchange["federated"], exchange["one_shot"]
    rounds = np.arange(1, max(2, 2 * round(exchange["break_even_rounds"]), federated["rounds"]) + 1)
    styles = strategy_styles(["federated", "synthetic"])
    megabyte = 1e6
    figure = draw_lines(
        [
            Line(
                "federated",
                rounds.astype(float),
                rounds * federated["bytes_per_round"] / megabyte,
                styles["federated"],
            ),
            Line(
                "one-shot",
                rounds.astype(float),
                np.full(len(rounds), one_shot["bytes"] / megabyte),
                styles["synthetic"],
            ),
        ],
        title="Bytes sent, by federated rounds",
        label="rounds",
        measured="MB",
        is_logarithmic=False,
        caption=f"This study took {federated['rounds']} rounds: {show_bytes(federated['bytes'])} "
        f"against {show_bytes(one_shot['bytes'])}.",
        stage="compare",
    )
    return Section(
        "cost",
        "What it cost",
        "",
        [
            exchange_table(exchange),
            Gallery("", [figure], "", "regular"),
            scale_table(exchange["paper_scale"]),
        ],
    )


def _registry(results: Results) -> Section:
    signed = [(site, card["signature"]) for site, card in results.cards.items()]
    return Section(
        "registry",
        "Registry and gates",
        "",
        [registry_table(results.registry), Items("Generators are signed with", signed)],
    )


def _reproduction(study: Study, results: Results) -> Section:
    comparison = results.comparison
    commands = f"git checkout {study.commit}\nsitesynth study use {study.name}\nmake repro\n"
    numbers = {
        str(found["seeds"]["n"])
        for found in comparison["strategies"].values()
        if found["seeds"]["n"]
    }
    return Section(
        "reproduce",
        "How to reproduce it",
        "The same commit, study and kind of machine give the same numbers, times excepted. Below "
        "each figure, a link leads to the MLflow run that made it, found by a digest of what the "
        "run wrote; it opens while `sitesynth ui` runs beside the study. `sitesynth runs STAGE` "
        "prints the same.",
        [
            Listing("", commands),
            Items(
                "",
                [
                    ("Commit", study.commit),
                    ("Study", study.name),
                    ("Root seed", str(study.seed)),
                    ("Training seeds", f"{', '.join(sorted(numbers))} per strategy"),
                    ("External test set", f"sha256 {comparison['test_sha256']}"),
                    ("Bootstrap", f"{comparison['num_resamples']} resamples of patients"),
                ],
            ),
        ],
    )
