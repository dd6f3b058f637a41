"""Which of a classifier's weights are which, by name."""

from torch import nn


__all__ = ["normalization_names", "trained_names"]

NORMALIZATIONS = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.GroupNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.LayerNorm,
)


def trained_names(model: nn.Module) -> tuple[str, ...]:
    """Return the names of the weights that have gradients."""
    return tuple(sorted(name for name, value in model.named_parameters() if value.requires_grad))


def normalization_names(model: nn.Module) -> tuple[str, ...]:
    """Return the names of all that normalization layers hold, running statistics included."""
    return tuple(
        sorted(
            f"{layer}.{name}"
            for layer, module in model.named_modules()
            if isinstance(module, NORMALIZATIONS)
            for name in module.state_dict()
        )
    )
