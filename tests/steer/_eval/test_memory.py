import re
import subprocess
import sys
from pathlib import Path

import pytest

from steer._eval._spool import Spool

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "eval_memory.py"


@pytest.mark.skipif(sys.platform == "win32", reason="no module resource")
def test_memory_does_not_grow_with_the_items() -> None:
    """Ten times the items within 5 %; the script itself compares 1,000 with 10,000."""
    command = [sys.executable, str(SCRIPT), "200", "2000"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    peaks = [float(peak) for peak in re.findall(r"items: (\S+) MiB", done.stdout)]
    assert len(peaks) == 2
    assert peaks[1] < 1.0125 * peaks[0]


TEXTS = ["Où ?", "", "\ud83d", "x" * 700_000, "日本", "y" * 700_000, "end"]


@pytest.mark.parametrize("count", [0, 3, 7])
def test_a_spool_gives_back_what_it_got(count: int) -> None:
    spool = Spool(iter(TEXTS[:count]))
    assert len(spool) == count
    assert list(spool) == TEXTS[:count]
    for n in reversed(range(count)):
        assert spool[n] == spool[n - count] == TEXTS[n]
    assert spool[1:] == TEXTS[1:count]
    with pytest.raises(IndexError):
        spool[count]
