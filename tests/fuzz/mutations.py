"""Changes of valid files: flipped bits, cuts, splices, other numbers, tokens that break parsers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

NUMBERS = (
    "0",
    "-0",
    "-1",
    "1",
    "2",
    "0.5",
    "1e-310",
    "5e-324",
    "1e308",
    "-1e308",
    "1e400",
    "-1e400",
    "inf",
    "-inf",
    "nan",
    "NaN",
    "Infinity",
    "-Infinity",
    "9" * 400,
    "-" + "9" * 400,
    "1" + "0" * 4400,
    "1_000",
    "0x1f",
    "1e",
    ".",
    "1,5",
    "١٢",
    "+1",
    "18446744073709551616",
    "9223372036854775808",
    "2147483648",
    "1e-7",
    "0.1e-400",
    "true",
    "null",
    "2.5e-8",
)
TOKENS = (
    *NUMBERS,
    "",
    " ",
    "\n",
    "\r",
    "\r\n",
    "\n\n",
    "\t",
    ",",
    ";",
    ":",
    '"',
    "'",
    "\\",
    "\x00",
    "\ufeff",
    "\u2028",
    "\x1b[31m",
    "{",
    "}",
    "[",
    "]",
    "[[",
    "{}",
    "[]",
    '{"loss": 1}',
    "&a",
    "*a",
    "&a [*a, *a]",
    "<<: *a",
    "!!python/object:os.system x",
    "!!binary AAAA",
    "---\n",
    "...\n",
    "# ",
    "%TAG ! x\n",
    "? ",
    "- ",
    "| \n",
    "loss",
    "step",
    "batch_size",
    "epoch",
    "lr",
    "image_index",
    "a" * 300,
    "../" * 60,
    "ü",
    "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
    "[tool.x]\n",
    "[" * 2000,
    '{"a":' * 2000,
    "x" * 130_001,
    "=",
    "[[tool]]\n",
    "a.b.c = 1\n",
    "format",
    "version",
    "null,",
    "[null]",
)
_DIGITS = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def mutated(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Return the data after one to four changes."""
    for _ in range(random.choice((1, 1, 1, 2, 3, 4))):
        data = random.choice(_CHANGES)(random, data, others)
    return data


def _flip(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8))):
        if changed:
            changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _set(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    changed = bytearray(data)
    if changed:
        at, length = random.randrange(len(changed)), random.choice((1, 2, 4, 8))
        changed[at : at + length] = bytes([random.choice((0, 0xFF, 0x7F, 0x80))]) * len(changed[at : at + length])
    return bytes(changed)


def _cut(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    return data[: random.randint(0, len(data))]


def _drop(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    low, high = _span(random, data)
    return data[:low] + data[high:]


def _repeat(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    low, high = _span(random, data)
    return data[:high] + data[low:high] * random.choice((1, 2, 30)) + data[high:]


def _splice(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    other = random.choice(others)
    low, high = _span(random, other)
    at = random.randint(0, len(data))
    return data[:at] + other[low:high] + data[at:]


def _insert(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    at = random.randint(0, len(data))
    return data[:at] + random.choice(TOKENS).encode("utf-8", "surrogatepass") + data[at:]


def _number(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    found = list(_DIGITS.finditer(data))
    if not found:
        return _insert(random, data, others)
    match = random.choice(found)
    return data[: match.start()] + random.choice(NUMBERS).encode() + data[match.end() :]


def _swap(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    found = list(_DIGITS.finditer(data))
    if len(found) < 2:
        return _flip(random, data, others)
    one, other = sorted(random.sample(found, 2), key=lambda match: match.start())
    return data[: one.start()] + other[0] + data[one.end() : other.start()] + one[0] + data[other.end() :]


def _encoded(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    text = data.decode("utf-8", "replace")
    form = random.choice(("utf-8-sig", "utf-16", "utf-16-le", "latin-1", "utf-32", "cp037"))
    return text.encode(form, "replace")


def _line_ends(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    return data.replace(b"\n", random.choice((b"\r\n", b"\r", b"\n\r", b"\n\n", b"\x0b", b"")))


def _empty(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    return random.choice((b"", b"\n", b"\x00", b"\x00" * 4096, b" " * 100, data * random.choice((2, 40))))


def _span(random: Random, data: bytes) -> tuple[int, int]:
    low = random.randint(0, len(data))
    return low, min(len(data), low + random.choice((1, 4, 20, 200, len(data))))


_CHANGES = (
    _flip,
    _flip,
    _set,
    _cut,
    _drop,
    _repeat,
    _splice,
    _insert,
    _insert,
    _number,
    _number,
    _number,
    _swap,
    _encoded,
    _line_ends,
    _empty,
)
