"""Bytes after a few flips, cuts, repetitions and extreme numbers."""

import random
import struct

EXTREMES = [0, 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1]


def mutated(draw: random.Random, data: bytes) -> bytes:
    """Return bytes after a few flips, cuts, repetitions, or numbers that are as large as they can be."""
    found = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 4, 16))):
        if not found:
            break
        at, length = draw.randrange(len(found)), draw.choice((1, 2, 4, 8, 64, 512))
        match draw.randrange(5):
            case 0:
                found[at] ^= 1 << draw.randrange(8)
            case 1:
                width, number = draw.choice(((2, "H"), (4, "I"))), draw.choice(EXTREMES)
                found[at : at + width[0]] = struct.pack(draw.choice("<>") + width[1], number % 256 ** width[0])
            case 2:
                del found[at : at + length]
            case 3:
                found[at:at] = found[at : at + length] * draw.choice((1, 10, 1000))
            case 4:
                del found[at:]
    return bytes(found)
