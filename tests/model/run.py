"""Many configurations explored, two at a time, and a table of what came of them.

What one of them comes to is `spin.py`'s; whether that is right, the tests' and `make model`'s.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

from model.spin import Verdict, explore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from model.table import Case

_AT_A_TIME = 2


class Run:
    """Explores configurations in the background, from its beginning on; at its end those not yet begun are left out.

    Args:
        cases: Which, in this order.
    """

    def __init__(self, cases: Iterable[Case]) -> None:
        self._pool = ThreadPoolExecutor(_AT_A_TIME)
        self._futures: dict[Case, Future[Verdict]] = {
            case: self._pool.submit(explore, case.configuration, optimised=case.is_long)
            for case in dict.fromkeys(cases)
        }

    def verdict(self, case: Case) -> Verdict:
        """What came of one of them; waits for it.

        Raises:
            RuntimeError: It could not be explored to its end.
        """
        return self._futures[case].result()

    def table(self) -> Iterator[str]:
        """A line for each that is explored, as soon as it is; then the sum."""
        states = 0
        for case, future in self._futures.items():
            if future.cancelled():
                continue
            error = future.exception()
            if error is not None:
                yield f"{case.configuration:<46}{str(error).partition(chr(10))[0]}"
                continue
            verdict = future.result()
            states += verdict.states
            yield f"{case.configuration:<46}{verdict}"
        yield f"{len(self._futures)} configurations, {states:,} states"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
