"""What any network of a flow must do."""

import torch
from torch import Tensor, nn


def check_samples_are_independent(model: nn.Module, x: Tensor) -> None:
    """Scan 17 is the same scan in any batch, to the last digits of floating-point sums.

    Args:
        model: The network, of two classes and two channels.
        x: What it is shown of three samples.
    """
    both = torch.ones(3, 2, dtype=torch.bool)
    told = (torch.full((3,), 0.4), torch.tensor([0, 1, -1]), both)
    together = model(x, *told)
    alone = model(x[1:2], *(part[1:2] for part in told))

    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-5)
