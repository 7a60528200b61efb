"""What a build with sanitizers changes for tests, in one place.

Such a program is some times slower, surrounds what it allocates with memory of
its own, and keeps what was freed, which would look like a leak.
"""

import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("POSTCELL_BUILD", ROOT / "build"))

IS_SANITIZED = "address" in BUILD.name
SAN = BUILD.name.partition("-")[2].replace("-", ",")  # as make wants it
MEMORY = 8 if IS_SANITIZED else 1  # times what is allowed otherwise
TIME = 3 if IS_SANITIZED else 1

if IS_SANITIZED:
    os.environ["ASAN_OPTIONS"] = (os.environ.get("ASAN_OPTIONS", "")
                                  + ":quarantine_size_mb=1")
# For programs that end at once, and leave to their end what they took.
SHORT_LIVED = ({"ASAN_OPTIONS": os.environ["ASAN_OPTIONS"]
                + ":detect_leaks=0"} if IS_SANITIZED else {})
