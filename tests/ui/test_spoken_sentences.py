"""A screen reader hears finished sentences, not tokens."""

from __future__ import annotations

import random

from desktop.ui.chat.spoken_sentences import SpokenSentences

TEXT = """# A heading

The **KV cache** keeps keys. It grows with e.g. `tokens`! See [the guide](https://example.org/x.y).
缓存很大。它会变大！

```python
print("never read out.")
```
- one
- two
The end"""
SAID = [
    "A heading",
    "The KV cache keeps keys.",
    "It grows with e.g.",
    "tokens!",
    "See the guide.",
    "缓存很大。",
    "它会变大！",
    "Code.",
    "- one",
    "- two",
    "The end",
]


def test_whole_text_in_any_pieces_gives_the_same_sentences() -> None:
    rng = random.Random(1)
    for _ in range(50):
        spoken, said, at = SpokenSentences(), [], 0
        while at < len(TEXT):
            step = rng.randint(1, 12)
            said += spoken.feed(TEXT[at : at + step])
            at += step
        assert said + spoken.finish() == SAID


def test_text_without_an_end_is_said_at_some_time() -> None:
    spoken = SpokenSentences()
    assert spoken.feed("word " * 200)
    assert spoken.finish() == []
