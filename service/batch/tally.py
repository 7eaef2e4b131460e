"""What a run counts for its summary: rows, and what was not read."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from service.errors import SourceError
from service.published.detector import Row
from service.published.drift import DriftMonitor


@dataclass
class Losses:
    """Counts of what is not read: sources that break off, and links and other files that are passed over."""

    broken: int = 0
    skipped: int = 0

    def __str__(self) -> str:
        """Return the counts above zero for the summary, each followed by a comma."""
        parts = {"sources that break off": self.broken, "links and other files passed over": self.skipped}
        return "".join(f"{name}: {count:,}, " for name, count in parts.items() if count)


@dataclass
class Tally:
    """Counts of rows: all images, anomalies among them, and images that could not be read. `monitor`, if any, sees them too.

    tally = Tally()
    sinks.write(tally.count(rows), out, "csv")  # counts the rows while they are written
    """

    images: int = 0
    anomalies: int = 0
    errors: int = 0
    first_error: str = ""
    monitor: DriftMonitor | None = None

    def count(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield `rows` unchanged. After the last row, raise SourceError if no image could be read."""
        for row in rows:
            self.images += 1
            self.anomalies += bool(row.is_anomaly)
            self.errors += row.error is not None
            if row.error is not None and not self.first_error:
                self.first_error = f"{row.id}: {row.error}"
            if self.monitor and row.p_value is not None:
                self.monitor.update(np.array([row.p_value]), np.array([row.score]))
            yield row
        self.check()

    def check(self) -> None:
        """Raise SourceError if there are images, and none could be read."""
        if self.images and self.errors == self.images:
            raise SourceError(f"images: none can be read; the first is {self.first_error}")
