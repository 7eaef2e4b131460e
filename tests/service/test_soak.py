"""Short versions of the commands in tests/soak. ODDGLYPH_SOAK_SEED=$RANDOM tries other images and requests."""

import asyncio
import contextlib
import os

from soak import mix, schema
from soak.images import damaged

from service import images
from service.errors import ImageError

SEED = int(os.environ.get("ODDGLYPH_SOAK_SEED", "0"))
SECONDS = 3


def test_damaged_images_of_every_format_are_refused_or_decoded():
    refused = 0
    for _, data in damaged(900, SEED):
        with contextlib.suppress(ImageError):
            assert images.decode(data, 28).shape == (28, 28)
            continue
        refused += 1
    assert 300 < refused < 900


def test_requests_made_from_the_document_are_answered_as_it_says(client):
    requests, is_good, said = schema.run(str(client.base_url), 6, SEED, phases="examples,fuzzing")
    assert is_good, said
    assert requests > 60


def test_whatever_is_asked_at_once_is_answered_or_refused(client):
    tally = mix.Tally()
    asyncio.run(mix.mixed(str(client.base_url), SECONDS, SEED, tally, overload=False))
    assert tally.wrong == []
    assert tally.answers["good", 200] > 20
    assert tally.answers["bad", 422] > 0
    assert tally.broken["left"] > 0
    assert client.get("/readyz").status_code == 200
