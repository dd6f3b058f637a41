"""Progress where nobody watches: a line now and then."""

import pytest

from sitesynth import progress
from sitesynth.progress import show_progress


def test_a_line_says_how_far_and_what(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    with show_progress(4, "training") as show:
        show(1, {"loss": 0.25})

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("training")
    assert "1/4" in line
    assert "loss 0.25" in line


def test_a_short_loop_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress(100, "training") as show:
        for step in range(100):
            show(step + 1, {"loss": 1.0})

    assert capsys.readouterr().err == ""
