"""Photograph the report of a finished study, at two widths, for the documents.

    python docs/shoot_report.py [results/report/index.html]

Needs `chromium` on the PATH, without a screen or a network. Writes docs/images/report-wide.png and
docs/images/report-narrow.png, and says which tables are wider than the page: they scroll in their
place, and none should at the larger width.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image


ROOT = Path(__file__).parents[1]
PAGE = ROOT / "results" / "report" / "index.html"
SIZES = {"wide": (1200, 2050), "narrow": (500, 2300)}
NUM_COLORS = 64
"""Text, rules and a few plots need no more, and a file of 64 colours is small."""

PROBE = """<script>
const wide = [...document.querySelectorAll(".scroll")]
  .filter(box => box.scrollWidth > box.clientWidth + 1)
  .map(box => box.getAttribute("aria-label"));
const page = document.documentElement;
if (page.scrollWidth > page.clientWidth) wide.push("the page itself");
document.body.innerHTML = "";
document.body.dataset.wide = JSON.stringify(wide);
</script></body>"""


def browse(page: Path, *options: str, size: tuple[int, int]) -> str:
    """Open a page in headless Chromium and return what it prints."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("no chromium on the PATH; install it to photograph the report")
    command = [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    window = f"--window-size={size[0]},{size[1]}"
    done = subprocess.run(  # noqa: S603
        [*command, window, *options, page.resolve().as_uri()],
        capture_output=True,
        check=True,
        text=True,
        timeout=300,
    )
    return done.stdout


def main() -> None:
    """Take both pictures."""
    page = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    with tempfile.TemporaryDirectory() as folder:
        probed = Path(folder, "probed.html")
        probed.write_text(page.read_text(encoding="utf-8").replace("</body>", PROBE))
        for name, size in SIZES.items():
            shot = Path(folder, f"{name}.png")
            browse(page, f"--screenshot={shot}", size=size)
            out = ROOT / "docs" / "images" / f"report-{name}.png"
            with Image.open(shot) as picture:
                picture.convert("RGB").quantize(NUM_COLORS).save(out, optimize=True)
            found = browse(probed, "--dump-dom", size=size)
            wide = found.partition('data-wide="')[2].partition('"')[0].replace("&quot;", '"')
            print(f"{out.relative_to(ROOT)}: {out.stat().st_size // 1000} kB; wider: {wide}")


if __name__ == "__main__":
    main()
