"""Damage to sound files, and what is asked of whoever reads them."""

import os
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from sitesynth.errors import SitesynthError


__all__ = ["Damage", "answered", "damages", "fuzzed"]

fuzzed = settings(
    max_examples=int(os.environ.get("SITESYNTH_FUZZ_EXAMPLES", "60")),
    deadline=None,
    derandomize="SITESYNTH_FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    database=None,
)

MOST_BYTES = 64 << 20
"""Memory that a reader may take for a file of a few kilobytes."""

Damage = Callable[[bytes], bytes]


@st.composite
def damages(draw: st.DrawFn) -> Damage:
    """Draw one to four edits, as a function of the sound bytes."""
    edits = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["change", "insert", "cut", "double", "end"]),
                st.one_of(st.integers(0, 400), st.integers(0, 1 << 20)),
                st.one_of(
                    st.binary(min_size=1, max_size=8),
                    st.sampled_from([b"\xff" * 4, b"\x00" * 4, b"\x7f\xff", b"\xff\x7f" * 3]),
                ),
            ),
            min_size=1,
            max_size=4,
        )
    )

    def damage(content: bytes) -> bytes:
        for kind, where, new in edits:
            at = where % (len(content) + 1)
            match kind:
                case "change":
                    content = content[:at] + new + content[at + len(new) :]
                case "insert":
                    content = content[:at] + new + content[at:]
                case "cut":
                    content = content[:at] + content[at + len(new) :]
                case "double":
                    content = content[:at] + content[at // 2 :]
                case _:
                    content = content[:at]
        return content

    return damage


@contextmanager
def answered(most_bytes: int = MOST_BYTES) -> Iterator[None]:
    """Accept an answer or an error of ours, if it took little memory."""
    tracemalloc.start()
    try:
        with suppress(SitesynthError):
            yield
        assert tracemalloc.get_traced_memory()[1] < most_bytes
    finally:
        tracemalloc.stop()
