"""What one client, and all of them together, may take of the server.

Values only; who keeps to them says so where it does.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WebLimits:
    """Bounds that leave a scraper all the room it needs, and everyone else none to do harm with.

    Attributes:
        connections: Open at a time, and never more than a quarter of the descriptors that the process may have;
            whoever comes then takes the place of one that waits (see `crowd`).
        unsent_answers: Answers that clients have asked for and don't read; of more, the oldest is dropped. Each holds
            a whole exposition in memory.
        scrapes: Rendered or waiting for it at a time.
        scrape_threads: Rendered at a time.
        header_bytes: The longest request line and headers.
        body_bytes: The longest body; nothing here needs one.
        request_seconds: From the connection to the end of its first request, a TLS handshake included.
        idle_seconds: From one answer to the end of the next request; longer than any sensible scrape interval, so that
            a scraper pays for one TLS handshake only.
        answer_seconds: From a request to the last byte of its answer taken by the client's side.
    """

    connections: int = 256
    unsent_answers: int = 16
    scrapes: int = 8
    scrape_threads: int = 2
    header_bytes: int = 16 * 1024
    body_bytes: int = 1024
    request_seconds: float = 10.0
    idle_seconds: float = 300.0
    answer_seconds: float = 30.0
