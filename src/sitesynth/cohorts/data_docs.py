"""A site's check as one HTML page: no script, no font, no file but itself.

The verdict comes first, then what failed and what to do, then a look at some scans, then every
rule, then every scan.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any


__all__ = ["render_page"]

STYLE = """
:root { color-scheme: light dark; --line: #8884; --bad: #b3261e; --good: #1b7f3b; }
@media (prefers-color-scheme: dark) { :root { --bad: #ff8a80; --good: #7bd88f; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; }
h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .25rem .8rem .25rem 0; }
thead th { border-bottom: 1px solid var(--line); font-weight: 600; }
tbody tr { border-bottom: 1px solid var(--line); }
.scroll { overflow-x: auto; }
.number { text-align: right; }
.bad { color: var(--bad); font-weight: 600; }
.good { color: var(--good); font-weight: 600; }
.quiet { opacity: .7; }
code { font-size: .9em; }
img { display: block; background: #000; }
"""

LEGEND = """<p class="quiet">Foreground: share of voxels above the image's mean, or inside the
mask. SNR and CNR: signal, and contrast between tissues, over the noise. EFC: entropy focus
criterion; ghosts and blur raise it. Digest: first characters of the SHA-256 of the decoded
voxels.</p>"""

FLAGGED = """<p>No rule is broken. Each is more than five robust standard deviations from the
median of its column at this site: look at it.</p>"""

LOOK = """<p class="quiet">First those set aside or unlike the others, then by the table. Of a
volume, the axial slice in which its mask is largest, or the middle one; the patient's right is on
the left. Black and white are the first and the 99.5th percentile of the slice.</p>"""

MEASURED = 10
"""Columns that say what a file holds."""

MAX_DIGEST_CHARS = 12
"""Characters of a digest that the page shows; the JSON file has all."""


def render_page(result: Mapping[str, Any], *, thumbnails: Mapping[tuple[str, str], str]) -> str:
    """Return the page of what `check_site` returned.

    Args:
        result: What it returned.
        thumbnails: Pictures of some scans as data URIs, by scan and column.
    """
    site = escape(result["site"])
    failed = [rule for rule in result["rules"] if rule["failures"]]
    verdict = (
        '<span class="good">passed</span>'
        if result["success"]
        else f'<span class="bad">{len(failed)} of {len(result["rules"])} rules broken</span>'
    )
    scans = _count(result["num_scans"], "scan")
    patients = _count(result["num_patients"], "patient")
    parts = [
        f"<h1>Cohort of site {site}: {verdict}</h1>",
        f"<p>{scans} of {patients}; {escape(result['role'])} site.</p>",
        *(_failures(rule) for rule in failed),
        *_quarantine(result["quarantine"]),
        *_outliers(result["outliers"]),
        *_pictures(result, thumbnails),
        "<h2>Patients</h2>",
        _table(
            ("group", "patients", "at least"),
            (
                (_text(group["group"]), _number(group["num_patients"]), _number(group["at_least"]))
                for group in result["groups"]
            ),
        ),
        "<h2>Rules</h2>",
        _table(
            ("rule", "about", "checked", "broken", "expectation"), map(_rule_row, result["rules"])
        ),
        "<h2>Files</h2>",
        LEGEND,
        _table(
            (
                *("scan", "patient", "values", "column", "shape", "spacing (mm)", "axes"),
                *("lowest", "highest", "foreground", "SNR", "CNR", "EFC", "digest"),
            ),
            _file_rows(result),
        ),
    ]
    return (
        "<!doctype html>\n"
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Check of {site}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def _failures(rule: Mapping[str, Any]) -> str:
    failures = rule["failures"]
    return (
        f'<h2 class="bad">{escape(rule["rule"])}</h2>\n'
        f"<p>Broken {len(failures)} of {rule['num_checked']} times. To do: {escape(rule['step'])}."
        "</p>\n"
        + _table(
            ("where", "value"),
            ((_text(failure["place"]), _text(failure["value"])) for failure in failures),
        )
    )


def _quarantine(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Return who was set aside, and why; nothing if nobody was."""
    if not rows:
        return []
    names = ("scan_id", "column", "path", "rule", "value", "step")
    count = _count(len({row["scan_id"] for row in rows}), "scan")
    return [
        f'<h2 class="bad">Set aside: {count}</h2>',
        "<p>In no split, and not counted below.</p>",
        _table(
            ("scan", "column", "file", "rule", "value", "to do"),
            (tuple(_text(row[name]) for name in names) for row in rows),
        ),
    ]


def _outliers(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return which images to look at; nothing if none is unlike the others."""
    if not rows:
        return []
    count = _count(len({row["scan_id"] for row in rows}), "scan")
    return [
        f"<h2>Unlike the others: {count}</h2>",
        FLAGGED,
        _table(
            ("scan", "column", "measure", "value", "median", "deviations"),
            (
                (
                    *(_text(row[name]) for name in ("scan_id", "column", "measure")),
                    *(_number(row[name]) for name in ("value", "median", "deviation")),
                )
                for row in rows
            ),
        ),
    ]


def _pictures(result: Mapping[str, Any], thumbnails: Mapping[tuple[str, str], str]) -> list[str]:
    """Return a look at some scans; nothing if there is none to look at."""
    shown = list(dict.fromkeys(scan for scan, _ in thumbnails))
    if not shown:
        return []
    return [
        f"<h2>A look at {len(shown)} of {_count(result['num_scans'], 'scan')}</h2>",
        LOOK,
        _table(
            ("scan", *result["columns"]),
            (
                (
                    _text(scan),
                    *(_picture(scan, name, thumbnails) for name in result["columns"]),
                )
                for scan in shown
            ),
        ),
    ]


def _picture(scan: str, column: str, thumbnails: Mapping[tuple[str, str], str]) -> str:
    if (scan, column) not in thumbnails:
        return '<td class="quiet">none</td>'
    about = escape(f"{column} of {scan}", quote=True)
    return f'<td><img src="{thumbnails[scan, column]}" alt="{about}"></td>'


def _rule_row(rule: Mapping[str, Any]) -> tuple[str, ...]:
    num_broken = len(rule["failures"])
    return (
        _text(rule["rule"]),
        _text(rule["subject"]),
        _number(rule["num_checked"]),
        f'<td class="number {"bad" if num_broken else "good"}">{num_broken}</td>',
        f"<td><code>{escape(rule['expectation'])}</code></td>",
    )


def _file_rows(result: Mapping[str, Any]) -> Iterable[tuple[str, ...]]:
    for scan in result["scans"]:
        values = ", ".join(f"{name} {value}" for name, value in scan["values"].items() if value)
        about = (_text(scan["scan_id"]), _text(scan["patient_id"]), _text(values))
        for column in result["columns"]:
            file = scan["files"].get(column)
            yield (*about, _text(column), *_measures(file))
            about = (_text(""),) * 3


def _measures(file: Mapping[str, Any] | None) -> tuple[str, ...]:
    if file is None:
        return (f'<td class="quiet" colspan="{MEASURED}">missing</td>',)
    if "error" in file:
        return (f'<td class="bad" colspan="{MEASURED}">{escape(file["error"])}</td>',)
    spacing = " x ".join(f"{edge:.3g}" for edge in file.get("spacing_mm", ()))
    return (
        _text(file["shape"]),
        _text(spacing),
        _text(file.get("orientation", "")),
        _number(file.get("low", "")),
        _number(file.get("high", "")),
        _number(file["foreground_fraction"]),
        *(_number(file.get(name, "")) for name in ("snr", "cnr", "efc")),
        f"<td><code>{file['voxel_sha256'][:MAX_DIGEST_CHARS]}</code></td>",
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "\n".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def _text(value: str) -> str:
    return f"<td>{escape(value)}</td>"


def _number(value: float | str) -> str:
    shown = f"{value:.4g}" if isinstance(value, float) else str(value)
    return f'<td class="number">{shown}</td>'


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
