"""The doorway to MONAI: its networks, without what MONAI would load beside them.

`import monai` imports every module of MONAI, and those import each optional package that is
installed: MLflow, Matplotlib, scikit-learn and SciPy, four fifths of its 2.7 s. Some forty
stages of a study would each wait for that, so MONAI is imported with these packages hidden, and
takes them for not installed. No network needs them.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


__all__ = ["AutoencoderKL", "DenseNet", "PatchAdversarialLoss", "PatchDiscriminator", "hidden"]

NOT_FOR_NETWORKS = (
    "matplotlib",
    "mlflow",
    "nibabel",
    "PIL",
    "pydicom",
    "scipy",
    "sklearn",
)


@contextmanager
def hidden(names: Sequence[str]) -> Iterator[None]:
    """Let imports of these packages, and of anything in them, fail in the block."""
    # Also those imported already: SciPy's first module would let MONAI have all the others.
    imported = {name: sys.modules[name] for name in names if name in sys.modules}
    # None in sys.modules stands for a module that cannot be imported.
    sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]
        sys.modules.update(imported)


with hidden(NOT_FOR_NETWORKS):
    from monai.losses.adversarial_loss import PatchAdversarialLoss
    from monai.networks.nets.autoencoderkl import AutoencoderKL
    from monai.networks.nets.densenet import DenseNet
    from monai.networks.nets.patchgan_discriminator import PatchDiscriminator
