"""Who may come in: as many as can be served soon, short requests beside long ones."""

from contextlib import ExitStack

import pytest

from service.errors import OverloadedError
from service.http import limits
from service.http.admission import Admission, Pace


@pytest.fixture
def admission():
    return Admission(Pace(0.001))  # seconds per unit


@pytest.fixture
def inside():
    with ExitStack() as inside:
        yield inside


def test_the_pace_follows_what_was_measured_lately_and_weighs_large_work_more():
    pace = Pace(0.005)
    assert pace.seconds(10) == pytest.approx(0.05)
    for _ in range(50):
        pace.note(0.01, 1)
        pace.note(0.1, 100)
    assert pace.seconds(101) == pytest.approx(0.11, rel=0.02)
    for _ in range(50):
        pace.note(0.2, 100)
    assert pace.seconds(100) == pytest.approx(0.2, rel=0.02)


def test_work_is_let_in_until_the_next_would_wait_too_long(admission, inside):
    for _ in range(6):
        inside.enter_context(admission.place(200))
    with pytest.raises(OverloadedError, match=r"at most 1 seconds of work before this request, got 1\.2"):
        admission.check(200)
    inside.close()
    admission.check(200)


def test_short_work_passes_long_work(admission, inside):
    inside.enter_context(admission.place(100_000))
    for _ in range(100):
        inside.enter_context(admission.place(5))


def test_long_work_may_wait_as_long_as_it_takes_itself_but_not_for_ever(admission, inside):
    inside.enter_context(admission.place(4000))
    inside.enter_context(admission.place(4000))
    with pytest.raises(OverloadedError, match="at most 4 seconds"):
        admission.check(4000)
    inside.enter_context(admission.place(400))
    with pytest.raises(OverloadedError, match="at most 5 seconds"):
        admission.check(100_000)


def test_a_claim_replaces_the_guess_and_may_be_too_much(admission, inside):
    first = inside.enter_context(admission.place(100))
    first.claim(3.0)
    admission.check(100)
    second = inside.enter_context(admission.place(1))
    second.claim(0.9)
    third = inside.enter_context(admission.place(1))
    with pytest.raises(OverloadedError):
        third.claim(0.9)


def test_claims_teach_what_a_unit_costs(admission):
    for _ in range(100):
        with admission.place(10) as place:
            place.claim(0.5)
    with admission.place(1000) as place:
        assert place.seconds == pytest.approx(50, rel=0.01)


def test_the_number_of_places_is_bounded_however_short_the_work(admission, inside):
    for _ in range(limits.MAX_REQUESTS):
        inside.enter_context(admission.place(0))
    with pytest.raises(OverloadedError, match=f"at most {limits.MAX_REQUESTS} requests at once"):
        admission.check(0)
