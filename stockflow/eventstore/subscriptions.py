"""Following a log as it grows."""

from collections.abc import Sequence
from threading import Event as Flag

from eventsourcing.persistence import ApplicationRecorder, Notification, Subscription

PAUSE = 0.1
"""Seconds between two looks at a log that has nothing new."""

_LIMIT = 500


class PollingSubscription(Subscription[ApplicationRecorder]):
    """Yields the events of a log by position, and waits for new ones.

    It asks in the thread that iterates, so it has neither a thread nor a connection of its own,
    and serves each database alike. Another thread may call :meth:`stop`.
    """

    def __init__(
        self, recorder: ApplicationRecorder, gt: int | None = None, topics: Sequence[str] = ()
    ) -> None:
        super().__init__(recorder=recorder, gt=gt, topics=topics)
        self._read: list[Notification] = []
        self._stopped = Flag()

    def stop(self) -> None:
        """End the iteration, at once where it waits."""
        super().stop()
        self._stopped.set()

    def __next__(self) -> Notification:
        while not self._stopped.is_set():
            if not self._read:
                self._read = self._next()
            if self._read:
                return self._read.pop()
            self._stopped.wait(PAUSE)
        raise StopIteration

    def _next(self) -> list[Notification]:
        """Return the next events, the first one last."""
        found = self._recorder.select_notifications(
            self._last_notification_id or 0, _LIMIT, topics=self._topics, inclusive_of_start=False
        )
        if found:
            self._last_notification_id = found[-1].id
        return list(reversed(found))
