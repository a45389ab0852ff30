"""Progress of what takes more than a second."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from time import monotonic
from typing import Any


@contextmanager
def moving() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr from the second second on: what is being done, steps done, steps in all."""
    from gptcalc.show.progress import progress_bar

    start = monotonic()
    with ExitStack() as opened:
        bars: list[Any] = []

        def moved(what: str, done: int, total: int) -> None:
            if not bars and monotonic() - start > 1:
                bars.append(opened.enter_context(progress_bar(enabled=True)))
            if bars and bars[0]:
                bars[0](what, done, total)

        yield moved
