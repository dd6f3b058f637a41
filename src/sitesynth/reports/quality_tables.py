"""Tables of how good the generators are, from results/quality.json."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sitesynth.reports.numbers import (
    ABSENT,
    show_count,
    show_figures,
    show_interval,
    show_percent,
    show_score,
    show_signed,
)
from sitesynth.reports.tables import Cell, Table, column, head, number, text


__all__ = [
    "appearance_table",
    "artefact_table",
    "fidelity_table",
    "held_out_table",
    "judge_table",
    "matrix_table",
    "name_extractor",
    "network_table",
    "reconstruction_table",
    "shift_table",
    "tumour_table",
]

Json = Mapping[str, Any]

ALL = "all"

ARTEFACTS = {
    "noise_level": "Noise, grey levels",
    "edge_sharpness": "Edge sharpness",
    "fine_power": "Fine power, dB",
}


def fidelity_table(quality: Json) -> Table:
    """Return distances and neighbourhoods: synthetic scans, and real ones in their place."""
    kinds = {"synthetic": "synthetic", "real": "real (floor)"}
    shares = ("precision", "recall", "density", "coverage", "ms_ssim")
    rows = []
    for site, found in quality["sites"].items():
        for line, (kind, name) in enumerate(kinds.items()):
            told = found[kind]
            sizes = f"{found['scans'][kind]} against {found['scans']['held_out']} scans"
            rows.append(
                [
                    *([head(site, rows=len(kinds))] if line == 0 else []),
                    head(name, note=sizes),
                    *(_with_ends(told[metric]) for metric in ("kid", "fid")),
                    *(_score_with_ends(told, metric) for metric in shares),
                ]
            )
    names = ("KID", "FID", "Precision", "Recall", "Density", "Coverage", "MS-SSIM")
    return Table(
        "Synthetic scans against held-out real scans",
        [[head("Hospital"), head("Scans"), *(column(name) for name in names)]],
        rows,
        "KID and FID (kernel and Frechet inception distance): how far the synthetic scans' "
        "features lie from the real ones', 0 is best. Precision and density: how far synthetic "
        "scans lie among real ones; recall and coverage: how many of the real ones they reach. "
        "MS-SSIM (structural similarity over scales): how alike two scans of a set are. "
        "The floor is what as many real training scans get against the same held-out ones: a "
        "perfect generator cannot be expected to do better. KID is unbiased; FID is mostly bias at "
        "these numbers of scans and says something beside the floor only. MS-SSIM is the mean over "
        "pairs: above that of real scans, variety is lost. Intervals of distances by resampling "
        "patients, of the other figures by leaving one out at a time, which makes them wide rather "
        "than narrow; they are about these numbers of scans, on which all but KID depend. "
        "Features: "
        f"{name_extractor(quality)}; neither distance compares with a published one.",
    )


def network_table(networks: Json) -> Table:
    """Return distances and neighbourhoods by the features of other extractors."""
    kinds = {"synthetic": "synthetic", "real": "real (floor)"}
    shares = ("precision", "recall", "density", "coverage")
    rows = []
    for name, by_network in networks.items():
        count = len(by_network["sites"]) * len(kinds)
        extractor = by_network["extractor"]
        for place, (site, found) in enumerate(by_network["sites"].items()):
            for line, (kind, kind_name) in enumerate(kinds.items()):
                told = found[kind]
                first = place == line == 0
                digest = f"{extractor['network']}, {extractor['digest'][:12]}"
                rows.append(
                    [
                        *([head(name, rows=count, note=digest)] if first else []),
                        *([head(site, rows=len(kinds))] if line == 0 else []),
                        head(kind_name),
                        *(_with_ends(told[metric]) for metric in ("kid", "fid")),
                        *(_score_with_ends(told, metric) for metric in shares),
                    ]
                )
    names = ("KID", "FID", "Precision", "Recall", "Density", "Coverage")
    files = "; ".join(
        f"{name}: {by_network['extractor']['weights_sha256']}"
        for name, by_network in networks.items()
    )
    return Table(
        "The same by features of other networks",
        [[head("Extractor"), head("Hospital"), head("Scans"), *(column(name) for name in names)]],
        rows,
        "Per extractor the network and the first digits of its digest, which covers weights and "
        "what the network was shown. Features are standardized as the default ones are, so neither "
        "distance compares with a published one of the same network. A view beside the default "
        f"one: the gate does not read it. SHA-256 of the weights: {files}.",
    )


def name_extractor(quality: Json, *, by: str = "") -> str:
    """Name what the features are made by, with the first digits of its digest.

    Args:
        quality: All that was measured by one extractor.
        by: The extractor's name, where it is not the default one.
    """
    extractor = quality["extractor"]
    return f"{by or extractor['name']}, sha256 {extractor['digest'][:12]}"


def matrix_table(quality: Json, metric: str, *, by: str = "") -> Table:
    """Return the matrix of sites and generators with intervals.

    Args:
        quality: What holds the matrix.
        metric: kid or fid.
        by: The extractor, where it is not the default one.
    """
    matrix = quality["matrix"][metric]
    sites = list(matrix)
    return Table(
        f"{metric.upper()} of every hospital's scans and every generator{by and f', by {by}'}",
        [[head("Real scans of"), *(column(f"generator of {site}") for site in sites)]],
        [[head(site), *(_with_ends(matrix[site][other]) for other in sites)] for site in sites],
        "A row is in units of its own hospital's spread: read along it, not down. Training scans "
        "are among the real ones, so that a generator is ahead on its own hospital's by what it "
        "remembers. Intervals by resampling patients. Features: "
        f"{name_extractor(quality, by=by)}.",
    )


def held_out_table(quality: Json, *, by: str = "") -> Table:
    """Return KID of held-out scans: to every generator, and to every hospital's training scans.

    Args:
        quality: What holds the matrix.
        by: The extractor, where it is not the default one.
    """
    matrix = quality["matrix"]
    held_out = matrix["held_out"]
    sites = list(held_out["kid"])
    against = {"generator": held_out["kid"], "training scans": matrix["real"]["kid"]}
    rows = []
    for site in sites:
        size = f"{held_out['scans'][site]} scans of {held_out['patients'][site]} patients"
        for line, (name, distances) in enumerate(against.items()):
            rows.append(
                [
                    *([head(site, rows=len(against), note=size)] if line == 0 else []),
                    head(f"{name} of"),
                    *(_with_ends(distances[site][other]) for other in sites),
                ]
            )
    clear = sum(_is_clear(held_out["kid"][site], site) for site in sites)
    least, most = _widths(found for row in held_out["kid"].values() for found in row.values())
    sizes = [held_out["patients"][site] for site in sites]
    return Table(
        f"KID of held-out scans alone, and how far hospitals are apart{by and f', by {by}'}",
        [[head("Held-out scans of"), head("Against"), *(column(site) for site in sites)]],
        rows,
        "No generator was trained on these scans, so none is ahead by what it remembers; those of "
        "its own hospital may have chosen the step whose weights were kept. Below each row stand "
        "real scans in the generators' place: on the diagonal the floor, a hospital's own training "
        "scans; beside it how far hospitals are apart. Where generators lie farther away "
        "than that, their faults outweigh what sets hospitals apart. How far hospitals are apart "
        "is a study's figure only: it takes all hospitals' real features in one place, which a "
        f"consortium does not have. With {_between(min(sizes), max(sizes))} held-out patients a "
        f"hospital, generators' intervals are {_between(show_figures(least), show_figures(most))} "
        f"wide; that of the own generator lies below all others' at {clear} of {len(sizes)}. They "
        "are of these few patients and of this training, and say nothing of another one. FID is "
        "left out: of so few scans it is mostly bias. A row is in units of its own hospital's "
        f"spread. Features: {name_extractor(quality, by=by)}.",
    )


def _is_clear(row: Mapping[str, Mapping[str, float]], site: str) -> bool:
    """Tell whether a site's own entry has its interval below those of all others."""
    return all(row[site]["high"] < found["low"] for other, found in row.items() if other != site)


def _widths(found: Iterable[Mapping[str, float]]) -> tuple[float, float]:
    """Return how wide the narrowest and the widest interval is."""
    widths = [entry["high"] - entry["low"] for entry in found]
    return min(widths), max(widths)


def _between(least: object, most: object) -> str:
    return f"{least}" if least == most else f"{least} to {most}"


def shift_table(quality: Json) -> Table:
    """Return the features in which synthetic scans differ most."""
    rows: list[list[Cell]] = [
        [head(site)]
        + [
            text(shift["feature"], note=f"{show_figures(shift['shift'])} sd")
            for shift in found["largest_shifts"]
        ]
        for site, found in quality["sites"].items()
    ]
    most = max(len(row) for row in rows)
    return Table(
        "What differs most",
        [[head("Hospital"), *(head(str(place)) for place in range(1, most))]],
        rows,
        "Shift of a feature's mean, synthetic minus training scans, in standard deviations of "
        "training scans.",
    )


def appearance_table(quality: Json) -> Table:
    """Return scores without a reference of synthetic and of real scans, and how far apart."""
    rows = []
    metrics = {"brisque": "BRISQUE", "piqe": "PIQE", **ARTEFACTS}
    for site, found in quality["sites"].items():
        for line, (metric, name) in enumerate(metrics.items()):
            synthetic, held_out = found["synthetic"][metric], found["held_out"][metric]
            real = found["real"][metric]
            rows.append(
                [
                    *([head(site, rows=len(metrics))] if line == 0 else []),
                    head(name),
                    *(_distribution(told) for told in (synthetic, held_out)),
                    *(
                        _with_ends(told and told[key])
                        for key in ("difference", "distance")
                        for told in (synthetic, real)
                    ),
                ]
            )
    model = quality["brisque_model"]
    return Table(
        "Quality without a reference, inside the head",
        [
            [
                head("Hospital", rows=2),
                head("Score", rows=2),
                column("Mean, and middle half", columns=2),
                column("Difference of means", columns=2),
                column("Distance", columns=2),
            ],
            [
                column(name)
                for name in ("synthetic", "held-out real", *("synthetic", "real (floor)") * 2)
            ],
        ],
        rows,
        "Slices of all planes, same code for all. BRISQUE and PIQE were made for photographs; the "
        "others are of one fault each: noise in grey levels of 255, how sharp edges are, and the "
        "share of power above half the Nyquist frequency. Of none is a lower one better, only a "
        "difference from real scans says something. Distance: mean shift of quantiles "
        "(Wasserstein). Differences and distances are from held-out real scans; the floor is that "
        f"of training scans. BRISQUE's regression: {model['name']}, sha256 {model['digest'][:12]}.",
    )


def artefact_table(quality: Json) -> Table:
    """Return noise, blur and grain of each sequence, synthetic and real, and how far apart."""
    rows = []
    for site, found in quality["sites"].items():
        synthetic, real, held_out = (found[kind] for kind in ("synthetic", "real", "held_out"))
        told = [kind[name] for kind in (synthetic, real, held_out) for name in ARTEFACTS]
        sequences = list(dict.fromkeys(name for one in told if one for name in one["sequences"]))
        if not sequences:
            rows.append(
                [head(site), text("too little head to look at"), *_blank(3 * len(ARTEFACTS))]
            )
        for line, sequence in enumerate(sequences):
            row = [*([head(site, rows=len(sequences))] if line == 0 else []), head(sequence)]
            for name in ARTEFACTS:
                drawn, floor, kept = (
                    one and one["sequences"][sequence]
                    for one in (synthetic[name], real[name], held_out[name])
                )
                apart = floor and floor["distance"] and floor["distance"]["value"]
                row += [
                    *(number(show_figures(one and one["value"])) for one in (drawn, kept)),
                    number(
                        show_figures(drawn and drawn["distance"] and drawn["distance"]["value"]),
                        note=f"floor {show_figures(apart)}",
                    ),
                ]
            rows.append(row)
    return Table(
        "Noise, blur and grain by sequence",
        [
            [
                head("Hospital", rows=2),
                head("Sequence", rows=2),
                *(column(name, columns=3) for name in ARTEFACTS.values()),
            ],
            [column(name) for name in ("synthetic", "held-out", "distance") * len(ARTEFACTS)],
        ],
        rows,
        "Means over scans, and distances from held-out real scans, with those of training scans as "
        "the floor; intervals, of all sequences together, stand in the table above. Noise: "
        "the spread that a filter leaves which takes out all that is straight; fine anatomy "
        "counts. "
        "Edge sharpness: how much steeper edges are at a finer scale, 1 for a slow ramp. Fine "
        "power: where it is above that of real scans, something draws a grain that they lack; "
        "below it, detail is missing.",
    )


def judge_table(quality: Json, *, classes: Sequence[str]) -> Table:
    """Return how often a judge trained on real scans sees the class that was asked for."""
    rows = []
    for site, found in quality["sites"].items():
        if found["judge"] is None:
            rows.append(
                [head(site), text("too few training patients of a class to judge by"), *_blank(6)]
            )
            continue
        for line, (kind, name) in enumerate(
            {"synthetic": "synthetic", "real": "real, left out"}.items()
        ):
            told = found["judge"][kind]
            rows.append(
                [
                    *([head(site, rows=2)] if line == 0 else []),
                    head(name, note=f"n = {show_count(told['n'])}"),
                    _share(told["agreement"]),
                    *(_share(told["by_class"][name_of]["agreement"]) for name_of in classes),
                    _with_ends(told["brier"]),
                    number(show_score(told["ece"])),
                ]
            )
    return Table(
        "Does the class asked for come out?",
        [
            [
                head("Hospital"),
                head("Scans"),
                column("Agreement, %"),
                *(column(f"{name}, %") for name in classes),
                column("Brier"),
                column("ECE"),
            ]
        ],
        rows,
        "A regression on the features of a hospital's real training scans judges its synthetic "
        "ones; agreement is with the class asked for. Beside it what the judge says of real scans "
        "that it did not learn from: more agreement than with those means classes are drawn too "
        "plainly, less that they are mixed up. Where flows are told a label score "
        "(diffusion.label_score), it comes from a judge of this kind, and agreement is in part by "
        "construction.",
    )


def reconstruction_table(quality: Json) -> Table:
    """Return what the autoencoders give back: structure, error, and what a judge still sees."""
    rows = []
    for site, found in quality["sites"].items():
        told = found["reconstruction"]
        scans = f"{show_count(told['scans']['held_out'])} held-out scans"
        rows.append(
            [
                head(site, note=scans),
                _score(told["ms_ssim"]["mean"]),
                *(_without_ends(like) for like in told["ms_ssim"]["by_sequence"].values()),
                *(_score(told["error"][split]) for split in ("held_out", "train")),
                *_before_and_after(told["judge"]),
            ]
        )
    sequences = next(iter(quality["sites"].values()))["reconstruction"]["ms_ssim"]["by_sequence"]
    return Table(
        "What comes back from the autoencoder",
        [
            [
                head("Hospital", rows=2),
                column("MS-SSIM, held-out", columns=1 + len(sequences)),
                column("Mean absolute error", columns=2),
                column("AUC of a judge of classes", columns=3),
            ],
            [
                column(name)
                for name in (
                    *("all", *sequences),
                    *("held-out", "training"),
                    *("originals", "reconstructions", "difference"),
                )
            ],
        ],
        rows,
        "Scans after the autoencoder beside themselves. MS-SSIM: structure, 1 is the scan itself. "
        "Error in units of the range of intensities: much more on held-out than on training scans "
        "would mean that training scans are remembered. The judge is a regression on the features "
        "of a hospital's real training scans; it ranks scans of patients that it did not learn "
        "from, and the same scans reconstructed. A difference below 0 is what no generator on "
        "these latents can bring back; one around 0 says that these features are kept, not that a "
        "network could not have used what is lost. Most of the scans that it ranks trained the "
        "autoencoder.",
    )


def tumour_table(site: str, tumours: Json, *, shown: Sequence[str]) -> Table:
    """Return tumours of one site's synthetic scans beside its real ones, by class."""
    rows = []
    for group, found in tumours.items():
        names = [name for name in shown if name in found]
        for line, name in enumerate(names):
            told = found[name]
            synthetic = told["synthetic"]
            rows.append(
                [
                    *([head(group, rows=len(names))] if line == 0 else []),
                    head(name),
                    _distribution(told["real"]),
                    _distribution(synthetic),
                    _with_ends(synthetic and synthetic.get("difference")),
                    _with_ends(synthetic and synthetic.get("distance")),
                    number(show_figures(told["floor"] and told["floor"]["distance"]["value"])),
                ]
            )
    return Table(
        f"Tumours of {site}, real and synthetic",
        [
            [
                head("Class"),
                head("Tumour's"),
                *(
                    column(name)
                    for name in ("real", "synthetic", "difference", "distance", "floor")
                ),
            ]
        ],
        rows,
        "Mean with the middle half of scans below; then the difference of means and the distance "
        "with 95 % intervals by patient. The floor is the distance of training from held-out "
        "scans. Contrast: brightness in the mask minus the rest of the head; rim: the mask's "
        "border minus its core.",
    )


def _with_ends(found: Mapping[str, float | None] | None) -> Cell:
    """Show a `V` in its own digits, for distances of any size."""
    if found is None or found["value"] is None:
        return number(ABSENT)
    ends = f"{show_figures(found['low'])} to {show_figures(found['high'])}"
    return number(show_figures(found["value"]), note=ends)


def _score_with_ends(told: Json, metric: str) -> Cell:
    """Show a number whose interval stands in the entry `intervals` beside it."""
    found = told["intervals"][metric]
    ends = "" if found is None else show_interval(found, is_signed=False)
    return number(show_score(told[metric]), note=ends)


def _score(found: Mapping[str, float] | None) -> Cell:
    """Show a `V` to three decimals."""
    if found is None:
        return number(ABSENT)
    return number(show_score(found["value"]), note=show_interval(found, is_signed=False))


def _without_ends(found: Mapping[str, float] | None) -> Cell:
    """Show a `V` to three decimals, where its interval would make the table too wide."""
    return number(ABSENT if found is None else show_score(found["value"]))


def _distribution(found: Json | None) -> Cell:
    if found is None:
        return number(ABSENT)
    low, _, high = found["quartiles"]
    return number(show_figures(found["value"]), note=f"{show_figures(low)} to {show_figures(high)}")


def _share(found: Mapping[str, float] | None) -> Cell:
    if found is None:
        return number(ABSENT)
    ends = f"{show_percent(found['low'])} to {show_percent(found['high'])}"
    return number(show_percent(found["value"]), note=ends)


def _before_and_after(judge: Json | None) -> list[Cell]:
    """Show how a judge ranks scans, their reconstructions, and the difference."""
    if judge is None:
        return [number(ABSENT, note="too few patients of a class"), *_blank(2)]
    auc = judge["auc"]
    difference = auc["difference"]
    return [
        number(show_score(auc["original"]), note=f"n = {show_count(judge['n'])}"),
        number(show_score(auc["reconstruction"])),
        number(show_signed(difference["value"]), note=show_interval(difference, is_signed=True)),
    ]


def _blank(count: int) -> list[Cell]:
    return [number(ABSENT) for _ in range(count)]
