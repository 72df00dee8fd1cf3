"""Hashes of tensors: equal for equal bits, whatever the layout and threads, and different after any single change."""

import pytest
import torch

from edgeglass_diag.measures.digests import as_readings, digest, joint_digest

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool)


def drawn(shape, dtype):
    return (10 * torch.randn(shape, generator=torch.Generator().manual_seed(0))).abs().to(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (1,), (3,), (127,), (5, 7, 11), (300, 50)], ids=str)
def test_equal_tensors_have_equal_hashes_in_any_layout(shape, dtype):
    values = drawn(shape, dtype)
    shifted = torch.cat([values.reshape(-1)[:1], values.reshape(-1)])[1:].view(shape)
    transposed = values.mT.contiguous().mT if values.dim() > 1 else values
    assert len({int(digest(made)) for made in (values, values.clone(), shifted, transposed)}) == 1


def test_the_number_of_threads_does_not_matter():
    values, before, found = drawn((1000, 1000), torch.float32), torch.get_num_threads(), set()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.add(as_readings([digest(values)]).item())
    finally:
        torch.set_num_threads(before)
    assert len(found) == 1


@pytest.mark.parametrize("size", [3, 130, 4096])
def test_the_smallest_change_of_any_entry_changes_the_hash(size):
    values = drawn((size,), torch.float32)
    known = int(digest(values))
    for place in range(0, size, max(1, size // 64)):
        changed = values.clone()
        changed[place] = torch.nextafter(changed[place], torch.tensor(torch.inf))
        assert int(digest(changed)) != known


def test_neighbours_exchanged_and_tensors_in_another_order_differ():
    values = drawn((256,), torch.float32)
    exchanged = values.clone()
    exchanged[[4, 6]] = values[[6, 4]]
    assert digest(values) != digest(exchanged)
    one, other = digest(values), digest(exchanged)
    assert joint_digest([one, other]) != joint_digest([other, one])
    assert digest(torch.zeros(3)) != digest(torch.zeros(4))
