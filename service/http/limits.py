"""Limits on what a request may cost; routes and their documentation name these same constants."""

from service import images

MAX_REQUEST_BYTES = 16 * 2**20
MAX_IMAGES = 256
MAX_PIXELS = images.MAX_COST  # of all images of one request, times their scans: as many as one image may have
MAX_SAMPLES = 256
MAX_WALK_STEPS = 64
MAX_REQUESTS = 256  # at once, in one worker process
REQUEST_SECONDS = 20.0

TOO_LARGE = f"body: expected at most {MAX_REQUEST_BYTES:,} bytes, got more; send fewer or smaller images"
OVERLOADED = f"service: expected at most {MAX_REQUESTS} requests at once, got one more; come back in a second"
TOO_SLOW = f"request: expected to be sent and answered within {REQUEST_SECONDS:g} seconds; send less or come back later"
