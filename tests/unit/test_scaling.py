"""What the benchmark of scaling counts, on a training whose operations are known."""

from collections.abc import Callable

import torch

from benchmarks.scaling import flops_of_a_step, matmul_peak


def test_the_operations_of_a_step_leave_out_what_comes_before_it() -> None:
    """A product of 8 x 16 and 16 x 4 is 2 * 8 * 16 * 4 operations; before it come as many again."""

    def train(num_steps: int, tick: Callable[[], None]) -> None:
        left, right = torch.ones(8, 16), torch.ones(16, 4)
        torch.mm(left, right)
        for _ in range(num_steps):
            torch.mm(left, right)
            tick()

    assert flops_of_a_step(train) == 2 * 8 * 16 * 4


def test_a_processor_multiplies_more_than_a_million_times_a_second() -> None:
    assert matmul_peak(torch.float32) > 1e8
