"""How high every message of a conversation is, in a form that answers "what is at this height" at once."""

from __future__ import annotations


class MessageHeights:
    """Heights in pixels, in order. Sums, look-ups and changes take O(log n): the sums are kept in a Fenwick tree.

    A height is measured or only estimated; both count alike.
    """

    def __init__(self) -> None:
        self._values: list[int] = []
        self._measured = bytearray()
        self._sums = [0]  # [i]: of the values before i, as many as i's lowest set bit says
        self._total = 0

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, place: int) -> int:
        return self._values[place]

    @property
    def total(self) -> int:
        """Of all messages."""
        return self._total

    def is_measured(self, place: int) -> bool:
        """Whether the height at this place was measured, at the width of now."""
        return bool(self._measured[place])

    def extend(self, count: int, height: int) -> None:
        """Add so many messages at the end, all with this estimate."""
        sums, start = self._sums, len(self._values)
        self._values.extend([height] * count)
        self._measured.extend(bytes(count))
        self._total += height * count
        if start == 0:
            sums.extend([height * (end & -end) for end in range(1, count + 1)])
            return
        for end in range(start + 1, start + count + 1):
            stop, lower, total = end - (end & -end), end - 1, height
            while lower > stop:
                total += sums[lower]
                lower -= lower & -lower
            sums.append(total)

    def truncate(self, count: int) -> None:
        """Keep only the first messages."""
        self._total = self.top(count)
        del self._values[count:], self._measured[count:], self._sums[count + 1 :]

    def put(self, place: int, height: int, *, measured: bool) -> None:
        """Change one height."""
        self._measured[place] = measured
        change = height - self._values[place]
        if not change:
            return
        self._values[place] = height
        self._total += change
        place += 1
        while place < len(self._sums):
            self._sums[place] += change
            place += place & -place

    def forget_measures(self) -> None:
        """Count every height as an estimate: the width has changed."""
        self._measured = bytearray(len(self._values))

    def top(self, place: int) -> int:
        """How much is above the message at this place; place may be the number of messages."""
        total = 0
        while place > 0:
            total += self._sums[place]
            place &= place - 1
        return total

    def at(self, y: int) -> int:
        """The place of the message that covers y: the first one above all, the last one below all; -1 without any."""
        place, step = 0, 1 << len(self._values).bit_length()
        while step:
            if (further := place + step) < len(self._sums) and self._sums[further] <= y:
                place = further
                y -= self._sums[further]
            step >>= 1
        return min(place, len(self._values) - 1)
