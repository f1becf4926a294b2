"""Several transfers at once; the first that fails ends all."""

from __future__ import annotations

from images.errors import ImageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeVar

    Item = TypeVar("Item")
    Result = TypeVar("Result")


class Stopped(ImageError):
    """A transfer ended because another one failed, or because the person wanted so."""


def each(
    items: Iterable[Item],
    action: Callable[[Item, Callable[[], None]], Result],
    at_once: int,
) -> list[Result]:
    """``action(item, go_on)`` for each item, in threads; the results in order.

    An action calls ``go_on`` now and then: it raises Stopped once another one has failed. The first
    failure is raised when all have ended; after Ctrl-C nobody is waited for.
    """
    from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

    stopping = False

    def go_on() -> None:
        if stopping:
            raise Stopped("the transfer was stopped")

    pool = ThreadPoolExecutor(at_once)
    running = [pool.submit(action, item, go_on) for item in items]
    try:
        done, _ = wait(running, return_when=FIRST_EXCEPTION)
        stopping = len(done) < len(running)
        pool.shutdown(wait=True, cancel_futures=True)
    except BaseException:
        stopping = True
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    failed = [own.exception() for own in running if not own.cancelled()]
    real = [one for one in failed if one is not None and not isinstance(one, Stopped)]
    for error in [*real, *filter(None, failed)]:
        raise error
    return [own.result() for own in running]
