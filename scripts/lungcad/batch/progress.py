# SPDX-License-Identifier: Apache-2.0
"""Progress of a shard on stderr: a bar in a terminal, else a line a minute, with scans per hour and time left."""

import sys
import time
from collections import Counter
from collections.abc import Mapping

from tqdm import tqdm

LINE_SECONDS = 60.0


class Progress:
    """Count of settled series.

    Args:
        total: number of series of the shard.
        name: what is counted, such as ``shard 0-of-4``.
    """

    def __init__(self, total: int, name: str) -> None:
        self.total, self.name = total, name
        self.states: Counter[str] = Counter()
        self.analysed = 0
        """Series that were analysed now, not skipped."""
        self._start = self._line = time.monotonic()
        bar_format = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{postfix}"
        self._bar = tqdm(total=total, desc=name, bar_format=bar_format, file=sys.stderr, leave=False, disable=None)

    def add(self, state: str, analysed: bool) -> None:
        """Count a series."""
        self.states[state] += 1
        self.analysed += analysed
        self._bar.set_postfix_str(self.rate, refresh=False)
        self._bar.update()
        if self._bar.disable and time.monotonic() - self._line >= LINE_SECONDS:
            self._line = time.monotonic()
            print(self, file=sys.stderr, flush=True)

    @property
    def rate(self) -> str:
        """Scans per hour and time left; empty before the first."""
        seconds = time.monotonic() - self._start
        if not self.analysed or not seconds:
            return ""
        left = (self.total - sum(self.states.values())) * seconds / self.analysed
        rate = f"{3600 * self.analysed / seconds:.0f} scans/h"
        return f"{rate}, {clock_text(left)} left" if left else rate

    def __str__(self) -> str:
        done = sum(self.states.values())
        return ", ".join(filter(None, [f"{self.name}: {done} of {self.total}", states_text(self.states), self.rate]))

    def close(self) -> None:
        """Remove the bar and print the last line."""
        self._bar.close()
        print(self, file=sys.stderr, flush=True)


def clock_text(seconds: float) -> str:
    """Duration as hours and minutes, such as ``26:05 h``; below a minute in seconds."""
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 60 else f"{minutes // 60}:{minutes % 60:02d} h"


def states_text(states: Mapping[str, int]) -> str:
    """Numbers by state, such as ``30 done, 10 refused``."""
    return ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
