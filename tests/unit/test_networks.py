"""MONAI comes in without the optional packages that cost its import most."""

import subprocess
import sys
from importlib import import_module

import pytest

from sitesynth import networks
from sitesynth.networks import (
    AutoencoderKL,
    DenseNet,
    PatchAdversarialLoss,
    PatchDiscriminator,
    hidden,
)


class TestHidden:
    def test_lets_the_import_fail_in_the_block_only(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delitem(sys.modules, "colorsys", raising=False)
        with hidden(["colorsys"]), pytest.raises(ImportError):
            import_module("colorsys")
        assert import_module("colorsys").rgb_to_hsv(0, 0, 0) == (0, 0, 0)

    def test_hides_what_is_imported_already(self) -> None:
        import_module("xml.dom")
        with hidden(["xml"]):
            for name in ("xml", "xml.dom", "xml.sax.handler"):
                with pytest.raises(ImportError):
                    exec(f"import {name}")  # noqa: S102 - as a module's own line would
        assert import_module("xml.dom") is sys.modules["xml.dom"]

    def test_ends_when_the_block_fails(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delitem(sys.modules, "colorsys", raising=False)
        with pytest.raises(RuntimeError), hidden(["colorsys"]):
            raise RuntimeError
        assert "colorsys" not in sys.modules


def test_networks_come_without_what_they_do_not_need() -> None:
    code = (
        "import sys, scipy.special, sitesynth.networks as n;"
        "print(*[name for name in n.NOT_FOR_NETWORKS if name in sys.modules]);"
        "print(*[name for name in sys.modules if name.startswith('scipy.signal')])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    assert printed.split() == ["scipy"]


def test_networks_are_monais() -> None:
    assert AutoencoderKL.__module__ == "monai.networks.nets.autoencoderkl"
    assert DenseNet.__module__ == "monai.networks.nets.densenet"
    assert PatchDiscriminator.__module__ == "monai.networks.nets.patchgan_discriminator"
    assert PatchAdversarialLoss.__module__ == "monai.losses.adversarial_loss"
    offered = {"AutoencoderKL", "DenseNet", "PatchAdversarialLoss", "PatchDiscriminator"}
    assert set(networks.__all__) == {*offered, "hidden"}
