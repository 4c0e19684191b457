"""A circuit breaker: after a row of failures nobody asks for a while, then one asks for all."""

import time
from collections import deque
from collections.abc import Callable

FAILURES_MAX = 5
"""Failures in a row, within the window, that open the circuit."""

WINDOW_SECONDS = 30.0
OPEN_SECONDS = 15.0
"""How long nobody asks before one probe may; an outage ends no sooner than a person would try again."""


class Circuit:
    """Counts the failures of one upstream in this process; a success forgets them.

    A caller asks :meth:`admits` before a request and then says how it ended by exactly one of
    :meth:`succeeded`, :meth:`failed` and :meth:`abandoned`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start closed. ``clock`` tells seconds that never run backwards."""
        self._clock = clock
        self._failures: deque[float] = deque(maxlen=FAILURES_MAX)
        self._opened_at: float | None = None
        self._is_probing = False

    @property
    def is_open(self) -> bool:
        """Whether the upstream is taken to be down."""
        return self._opened_at is not None

    def admits(self) -> bool:
        """Whether a request may be made now; when the circuit is open, only as the one probe."""
        if self._opened_at is None:
            return True
        if self._is_probing or self._clock() - self._opened_at < OPEN_SECONDS:
            return False
        self._is_probing = True
        return True

    def succeeded(self) -> None:
        """Close the circuit: the upstream answered."""
        self._failures.clear()
        self._opened_at = None
        self._is_probing = False

    def failed(self) -> None:
        """Note a failure; the probe's own keeps the circuit open for another while."""
        now = self._clock()
        if self._opened_at is not None:
            if self._is_probing:
                self._opened_at = now
                self._is_probing = False
            return
        self._failures.append(now)
        if len(self._failures) == FAILURES_MAX and now - self._failures[0] <= WINDOW_SECONDS:
            self._opened_at = now
            self._failures.clear()

    def abandoned(self) -> None:
        """Note that a request was given up by its caller, which says nothing of the upstream."""
        self._is_probing = False
