"""A second client in a benchmark, which keeps requesting /healthz and measures how long it waits.

Takes the address of the site. After each line of standard input, it sends one more request and prints the waits since the
previous line as a JSON array, in milliseconds.
"""

import http.client
import json
import sys
import threading
import time
from urllib.parse import urlsplit

PAUSE_SECONDS = 0.005


class Probe(threading.Thread):
    """Sends requests one after another over one connection."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self._netloc = urlsplit(address).netloc
        self._condition = threading.Condition()
        self._waits: list[float] = []
        self._asked = 0

    def run(self) -> None:
        connection = http.client.HTTPConnection(self._netloc, timeout=600)
        while True:
            begun = time.monotonic()
            try:
                connection.request("GET", "/healthz")
                connection.getresponse().read()
            except (OSError, http.client.HTTPException):
                # The server can close an old connection. The next request opens a new one.
                connection.close()
            with self._condition:
                self._waits.append((time.monotonic() - begun) * 1000)
                self._asked += 1
                self._condition.notify()
            time.sleep(PAUSE_SECONDS)

    def waits(self) -> list[float]:
        """Return the waits since the last call, including one request started after this call."""
        with self._condition:
            last = self._asked + 2
            self._condition.wait_for(lambda: self._asked >= last)
            waits, self._waits = self._waits, []
        return waits


if __name__ == "__main__":
    probe = Probe(sys.argv[1])
    probe.start()
    for _line in sys.stdin:
        print(json.dumps([round(wait, 2) for wait in probe.waits()]), flush=True)
