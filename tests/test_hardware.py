"""What a machine can compute with, read from what Linux tells of its processor."""

import pytest

from pipelines.hardware import cpu_has_bfloat16


@pytest.mark.parametrize(
    ("told", "has"),
    [
        ("model name\t: AMD EPYC\nflags\t\t: fpu avx2 fma\n", False),
        ("flags\t\t: fpu avx512_bf16 avx2\n", True),
        ("flags\t\t: fpu amx_bf16 amx_tile\n", True),
        ("Features\t: fp asimd bf16\n", True),
        ("Features\t: fp asimd\n", False),
        # Nothing is known: leave the precision as it is.
        ("processor\t: 0\n", True),
    ],
)
def test_bfloat16_is_read_from_the_flags(tmp_path, told, has):
    info = tmp_path / "cpuinfo"
    info.write_text(told)
    assert cpu_has_bfloat16(info) is has


def test_a_machine_that_does_not_tell_is_taken_to_have_it(tmp_path):
    assert cpu_has_bfloat16(tmp_path / "none")
