"""What of a long conversation the model still reads: the oldest turns are left out until the rest fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from desktop.domain.generation import GenerationRequest, Role

_REPLY_PART = 4  # of the context, one part in so many is kept free for the reply, if it may be that long
# What is left out grows by a power of two of turns, at most one in so many of those that fit, and not with every turn:
# the engine's cache of prompts holds only for as long as they begin with the same messages.
_STEPS = 4
# A text with more characters than this a token of the context does not fit, so that counting all of it is for nothing.
# It only decides where the search begins: what it finds does not depend on it.
_MOST_CHARACTERS_A_TOKEN = 16


class PromptSize(msgspec.Struct, frozen=True):
    """tokens: of the prompt as it is sent. turns_left_out: how many of the oldest turns are not in it.

    pictures: how many of the tokens are of pictures, 0 also where nobody can count them.
    """

    tokens: int
    turns_left_out: int = 0
    pictures: int = 0


def turn_starts(roles: Sequence[Role]) -> list[int]:
    """The places where turns begin: what a user says, and all that the model and its tools say to that.

    What stands before the user's first message belongs to the first turn, but for the system's at the very beginning,
    which belong to none.
    """
    begin = next((place for place, role in enumerate(roles) if role != "system"), None)
    if begin is None:
        return []
    return [begin, *[place for place, role in enumerate(roles) if role == "user"][1:]]


def reply_room(context_length: int, most: int | None) -> int:
    """Tokens kept free for the reply: its limit, at most a quarter of the context. most: the limit, if there is one."""
    quarter = max(context_length // _REPLY_PART, 1)
    return quarter if most is None else min(most, quarter)


def fitted(
    request: GenerationRequest, context_length: int, count: Callable[[GenerationRequest], int]
) -> tuple[GenerationRequest, PromptSize]:
    """The request without the oldest turns that do not fit beside the room for a reply, and its size.

    context_length: in tokens, 0 where it is unknown. count: the tokens of a request's prompt; raises what it likes. It
    is asked once for a conversation that fits, and a number of times that grows with the logarithm of the turns that
    are kept for one that does not; what was left out long ago is not counted again.

    Up to a quarter of the turns that fit is left out too, so that the beginning stays the same for some messages. The
    system's messages and the newest turn always stay, so the prompt may still be longer than the context. Nothing
    is left out of a request that does not allow it. Counts that do not grow with the turns (a template that leaves
    some out by itself) make the search keep fewer turns than could be, never too many.
    """
    starts = turn_starts([message.role for message in request.messages])
    sizes: dict[int, int] = {}

    def fits(kept: int) -> bool:
        sizes[kept] = count(without_oldest(request, len(starts) - kept))
        return sizes[kept] <= room

    if not (request.leaves_out and context_length > 0 and len(starts) > 1):
        return request, PromptSize(count(request))
    room = context_length - reply_room(context_length, request.params.max_new_tokens)
    characters = sum(len(message.content) for message in request.messages)
    if characters <= _MOST_CHARACTERS_A_TOKEN * context_length and fits(len(starts)):
        return request, PromptSize(sizes[len(starts)])
    low, high = 0, 1  # so many of the newest turns fit; so many are tried
    while fits(high):
        if high == len(starts):
            return request, PromptSize(sizes[high])
        low, high = high, min(2 * high, len(starts))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    kept = max(low, 1)
    step = 1 << max(kept // _STEPS, 1).bit_length() - 1
    kept = max(len(starts) - -(-(len(starts) - kept) // step) * step, 1)
    if kept not in sizes:
        fits(kept)
    return without_oldest(request, len(starts) - kept), PromptSize(sizes[kept], len(starts) - kept)


def without_oldest(request: GenerationRequest, turns: int) -> GenerationRequest:
    """The request without so many of its oldest turns; the newest always stays."""
    starts = turn_starts([message.role for message in request.messages])
    turns = min(turns, len(starts) - 1)
    if turns < 1:
        return request
    messages = request.messages[: starts[0]] + request.messages[starts[turns] :]
    return msgspec.structs.replace(request, messages=messages)
