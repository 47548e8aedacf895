"""Entropy coding of integers: exact, of a size known in advance, stable over versions, and safe on hostile codes."""

from __future__ import annotations

import math
import tracemalloc

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from omnidistill.models.entropy_coding import LARGEST, decode, encode, ideal_bits, stream_bytes

GOLDEN_CODE = "bcae3e184123046ab0837c7ddbfa678d59a7b85d591e8cfc0000000000000000"
seeds = st.integers(0, 2**31)


def integers(num_rows: int, width: int, spread: float, seed: int) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return (spread * torch.randn(num_rows, width, generator=draw)).round().clamp(-LARGEST, LARGEST).int()


def entropy_by_hand(levels: Tensor) -> float:
    """Bits of the magnitudes under their relative frequencies, and one bit per sign."""
    magnitudes = [abs(level) for level in levels.flatten().tolist()]
    frequencies = {value: magnitudes.count(value) / len(magnitudes) for value in set(magnitudes)}
    return sum((value != 0) - math.log2(frequencies[value]) for value in magnitudes)


@given(seeds, st.integers(1, 8), st.integers(1, 40), st.sampled_from([0.0, 0.3, 1.0, 3.0, 50.0]))
def test_what_is_decoded_is_what_was_encoded(seed: int, num_rows: int, width: int, spread: float) -> None:
    levels = integers(num_rows, width, spread, seed)
    before = levels.clone()
    bits = ideal_bits(levels) / levels.numel()
    assert ideal_bits(levels) == pytest.approx(entropy_by_hand(levels), abs=1e-6)
    code, table = encode(levels, bits)
    assert (code.dtype, table.dtype, len(table)) == (torch.uint8, torch.int32, LARGEST + 2)
    assert len(code) == stream_bytes(levels.numel(), bits)
    assert torch.equal(decode(code, table, num_rows), levels)
    assert torch.equal(levels, before)


@pytest.mark.parametrize("spread", [0.3, 1.0, 2.0, 8.0])
@pytest.mark.parametrize("num_rows", [30, 256])
def test_the_code_is_within_a_percent_of_the_entropy(num_rows: int, spread: float) -> None:
    levels = integers(num_rows, 1280, spread, seed=3)
    code, table = encode(levels, ideal_bits(levels) / levels.numel())
    assert 8 * len(code) <= 1.01 * ideal_bits(levels) + 96
    assert torch.equal(decode(code, table, num_rows), levels)


@pytest.mark.parametrize("levels", [[LARGEST, -LARGEST], [0, 0, 0], [7], [-7] * 5, list(range(-LARGEST, LARGEST + 1))])
def test_extreme_tables(levels: list[int]) -> None:
    tensor = torch.tensor([levels], dtype=torch.int32)
    code, table = encode(tensor, ideal_bits(tensor) / len(levels))
    assert torch.equal(decode(code, table, 1), tensor)


def test_one_rare_number_among_many_of_one_kind() -> None:
    """Its probability is below the resolution of the coder."""
    levels = torch.zeros(40, 5000, dtype=torch.int32)
    levels[17, 4321] = -LARGEST
    code, table = encode(levels, ideal_bits(levels) / levels.numel())
    assert len(code) == stream_bytes(levels.numel(), ideal_bits(levels) / levels.numel())
    assert torch.equal(decode(code, table, 40), levels)


def golden() -> tuple[Tensor, Tensor, Tensor]:
    """The integers, code and table of a set on disk: the integers come from polynomials modulo 11 and 7."""
    levels = torch.tensor([[(7 * i * i + 3 * i) % 11 - 5 for i in range(24)], [(5 * i) % 7 - 3 for i in range(24)]])
    table = [-1778227380, 4, 12, 11, 7, 4, 10, *[0] * 26]
    return levels.int(), torch.tensor(list(bytes.fromhex(GOLDEN_CODE)), dtype=torch.uint8), torch.tensor(table).int()


def test_codes_on_disk_stay_readable() -> None:
    """Another order of symbols, precision, checksum or coder would silently orphan every set with coded rows."""
    levels, code, table = golden()
    assert torch.equal(decode(code, table, 2), levels)
    assert decode(code, table, 2).dtype == torch.int32
    again = encode(levels, 3.5)
    assert torch.equal(again[0], code)
    assert torch.equal(again[1], table)


def outcome(code: Tensor, table: Tensor, num_rows: int, levels: Tensor) -> None:
    """Decoding gives the exact integers or ValueError, and nothing else."""
    try:
        result = decode(code, table, num_rows)
    except ValueError:
        return
    assert torch.equal(result.flatten(), levels.flatten())


@given(seeds, st.data())
def test_damaged_codes_are_refused_or_decode_exactly(seed: int, data: st.DataObject) -> None:
    """Damage to padding changes nothing; all other damage ends in ValueError."""
    levels = integers(6, 20, 2.0, seed)
    code, table = encode(levels, 4.0)
    for tensor, bits in ((code, 8), (table, 31)):
        for _ in range(data.draw(st.integers(0, 3))):
            place = data.draw(st.integers(0, len(tensor) - 1))
            tensor[place] ^= 1 << data.draw(st.integers(0, bits - 1))
    if data.draw(st.booleans()):
        code = code[: data.draw(st.integers(0, len(code)))]
    outcome(code, table, data.draw(st.sampled_from([6, 6, 6, 1, 5, 0, -6, 10**9])), levels)


@given(st.binary(max_size=64), st.lists(st.integers(-3, 40), min_size=LARGEST + 1, max_size=LARGEST + 1), st.integers())
def test_arbitrary_codes_are_refused(content: bytes, counts: list[int], checksum: int) -> None:
    code = torch.tensor(list(content), dtype=torch.uint8)
    table = torch.tensor([checksum % 2**31, *counts], dtype=torch.int32)
    with pytest.raises(ValueError, match=r"the (code|table|decoded)"):
        decode(code, table, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"code": lambda code: code.to(torch.int8)}, "wrong type or shape"),
        ({"code": lambda code: code.float()}, "wrong type or shape"),
        ({"code": lambda code: code.bfloat16()}, "wrong type or shape"),
        ({"code": lambda code: code.view(2, -1)}, "wrong type or shape"),
        ({"code": lambda code: code[:0]}, "checksum|cannot be decoded"),
        ({"code": lambda code: code[:-1]}, "does not fit"),
        ({"table": lambda table: table.long()}, "wrong type or shape"),
        ({"table": lambda table: table.bfloat16()}, "wrong type or shape"),
        ({"table": lambda table: table[:-1]}, "wrong type or shape"),
        ({"table": lambda table: table[None]}, "wrong type or shape"),
        ({"table": lambda table: table * 0}, "does not fit"),
        ({"table": lambda table: -table}, "does not fit"),
        ({"table": lambda table: torch.full_like(table, 2**31 - 2)}, "counts more numbers than the code can hold"),
        ({"num_rows": lambda rows: 0}, "does not fit"),
        ({"num_rows": lambda rows: rows + 5}, "does not fit"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, object], message: str) -> None:
    _, code, table = golden()
    values = {"code": code, "table": table, "num_rows": 2}
    for name, function in change.items():
        values[name] = function(values[name])  # type: ignore[operator]
    with pytest.raises(ValueError, match=message):
        decode(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("total", [2**24 - 1, 2**31 - 1])
def test_memory_is_bounded_for_counts_that_no_code_justifies(total: int) -> None:
    """A table may promise 2^24 numbers without a code, and no more."""
    table = torch.zeros(LARGEST + 2, dtype=torch.int32)
    table[1] = total
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"the (decoded|table|code)"):
            decode(torch.zeros(0, dtype=torch.uint8), table, 1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 200e6
