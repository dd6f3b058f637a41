"""A bar with the time left, where someone watches; now and then a line, where no one does."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager


__all__ = ["show_progress"]

LINE_EVERY_S = 10.0


@contextmanager
def show_progress(total: int, title: str) -> Iterator[Callable[[int, Mapping[str, float]], None]]:
    """Show on stderr how far a loop of `total` steps is.

    Yields:
        A function to call after each step, with its number, counted from 1, and what to show.
    """
    # Most stages show no bar.
    from tqdm import tqdm  # noqa: PLC0415

    if sys.stderr.isatty():
        with tqdm(total=total, desc=title, file=sys.stderr, dynamic_ncols=True) as bar:

            def move(step: int, values: Mapping[str, float]) -> None:
                shown = {name: f"{value:.4g}" for name, value in values.items()}
                bar.set_postfix(shown, refresh=False)
                bar.update(step - bar.n)

            yield move
        return

    started = printed = time.monotonic()

    def line(step: int, values: Mapping[str, float]) -> None:
        nonlocal printed
        now = time.monotonic()
        if now - printed >= LINE_EVERY_S:
            printed = now
            shown = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
            meter = tqdm.format_meter(step, total, now - started, prefix=title, ncols=0)
            sys.stderr.write(f"{meter} {shown}\n")

    yield line
