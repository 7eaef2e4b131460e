"""Who may come in: a request whose work would wait too long is refused at once, before its body is read or decoded."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import Depends, Request

from service.errors import OverloadedError
from service.http import limits

PLACE = "oddglyph.place"  # where the scope of a request has its place
MEMORY = 0.9  # what is left of a measurement when the next one comes


class Pace:
    """How many seconds a unit of work takes, such as an image or a byte, going by what was noted lately.

    pace = Pace(0.005)
    pace.note(seconds=0.1, units=64)
    pace.seconds(32)  # about 0.05
    """

    def __init__(self, first_seconds: float) -> None:
        self._seconds, self._units = first_seconds, 1.0

    def note(self, seconds: float, units: float) -> None:
        """Remember that `units` took so long; many units count for more than few."""
        self._seconds = MEMORY * self._seconds + seconds
        self._units = MEMORY * self._units + units

    def seconds(self, units: float) -> float:
        """Return how long so many units may take."""
        return self._seconds / self._units * units


class Admission:
    """The places of the requests that are worked on, and the seconds of work that each brings.

    Requests take turns, so a new one waits for each of the others no longer than it needs itself: a short request is let in
    beside a long one, and is refused beside too many short ones. `pace` guesses the work by the units of a request
    that can be seen from outside, until the request claims what it needs.

        admission = Admission(Pace(4e-6))
        admission.check(units=content_length)  # OverloadedError
        with admission.place(units=len(body)) as place:  # OverloadedError
            place.claim(0.3)  # OverloadedError, if that is too much
    """

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._places: set[Place] = set()

    def check(self, units: float = 0) -> None:
        """Raise OverloadedError if a request of so many units has no place now."""
        if len(self._places) >= limits.MAX_REQUESTS:
            raise OverloadedError(limits.OVERLOADED)
        self._check_seconds(self._pace.seconds(units), self._places)

    @contextmanager
    def place(self, units: float = 0) -> "Iterator[Place]":
        """Hold a place for a request of so many units; OverloadedError if there is none."""
        self.check(units)
        place = Place(self, units, self._pace.seconds(units))
        self._places.add(place)
        try:
            yield place
        finally:
            self._places.discard(place)

    def claimed(self, place: "Place", seconds: float) -> None:
        """Note how long the work in `place` will take; OverloadedError if that is too much beside all others."""
        self._pace.note(seconds, place.units)
        self._check_seconds(seconds, self._places - {place})

    def _check_seconds(self, seconds: float, others: "set[Place]") -> None:
        wait = sum(min(each.seconds, seconds) for each in others)
        most = max(limits.QUEUE_SECONDS, min(seconds, limits.MAX_WAIT_SECONDS))
        if wait > most:
            raise OverloadedError(
                f"service: expected at most {most:.2g} seconds of work before this request, got {wait:.2g}; "
                "come back in a second"
            )


class Place:
    """The place of one request, with the seconds that its work will take."""

    def __init__(self, admission: Admission, units: float, seconds: float) -> None:
        self._admission = admission
        self.units = units
        self.seconds = seconds

    def claim(self, seconds: float) -> None:
        """Say how long the work will take, now that it is known; OverloadedError if that is too much."""
        self._admission.claimed(self, seconds)
        self.seconds = seconds


def _place(request: Request) -> Place:
    place: Place = request.scope[PLACE]
    return place


Admitted = Annotated[Place, Depends(_place)]
