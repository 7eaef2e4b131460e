"""Limits on a request. Routes, refusals and the API documentation all read them here."""

from service import images

MAX_REQUEST_BYTES = 16 * 2**20
MAX_IMAGES = 256
MAX_PIXELS = images.MAX_COST  # pixels times scans over all images of a request; a single image may use up all
MAX_NAME_CHARACTERS = 100
MAX_SAMPLES = 256
MAX_WALK_STEPS = 64

# Limits of one worker process: requests worked on at once, and bytes of all bodies, those still arriving included. A request
# is refused if its work would wait longer than QUEUE_SECONDS and longer than it takes itself, or than MAX_WAIT_SECONDS.
MAX_REQUESTS = 256
QUEUE_SECONDS = 1.0
MAX_WAIT_SECONDS = 5.0
SECONDS_PER_BYTE = 4e-6  # of work, for a digit in a PNG file; until requests have been measured
GUESSED_BYTES = 512 * MAX_IMAGES  # of a body, that count: more bytes make images larger, not more
PIXELS_PER_SECOND = 25e6  # that one core decodes, of the slower formats
MAX_HELD_BYTES = 16 * MAX_REQUEST_BYTES

# A body must arrive within BODY_SECONDS, and after GRACE_SECONDS at MIN_BYTES_PER_SECOND on average. The work starts when
# the body is complete, and must be answered within WORK_SECONDS.
BODY_SECONDS = 60.0
GRACE_SECONDS = 10.0
MIN_BYTES_PER_SECOND = 1024
WORK_SECONDS = 20.0

MAX_CONNECTIONS = 640  # of one worker process, which needs the rest of the usual 1,024 descriptors for files
HEADER_SECONDS = 10.0  # from the last answer, or the start of a connection, to the end of the headers
SEND_SECONDS = 30.0  # within which a client must read some of its answer
LOOK_SECONDS = 1.0  # between two checks of a connection

TOO_LARGE = f"body: expected at most {MAX_REQUEST_BYTES:,} bytes, got more; send fewer or smaller images"
OVERLOADED = f"service: expected at most {MAX_REQUESTS} requests at once, got one more; come back in a second"
TOO_MUCH_HELD = f"service: expected at most {MAX_HELD_BYTES:,} bytes of all bodies, got more; come back in a second"
TOO_SLOW = f"request: no answer within {WORK_SECONDS:g} seconds; send fewer images or come back later"
SENT_TOO_SLOWLY = (
    f"body: expected within {BODY_SECONDS:g} seconds and at {MIN_BYTES_PER_SECOND:,} bytes a second or more, "
    "got it more slowly; send fewer bytes or use a faster connection"
)
LEFT = "client: left before it was answered; nothing is computed for it"
TWO_LENGTHS = "headers: expected Content-Length or Transfer-Encoding, got both; leave one out"
NOT_HTTP = "request: expected HTTP/1.1, got something else; send another"
BREAKS_OFF = "body: expected a form that ends with its boundary, got one that breaks off; send it again"
