"""The data directory is made ready by every process, also by many at once."""

import subprocess
import sys
from pathlib import Path

CODE = """
import sys
from steelyard.assembly.data_dir import prepare_data_dir
from steelyard.config import load_settings
settings = load_settings(data_dir=sys.argv[1])
for _ in range(300):
    prepare_data_dir(settings)
"""


def test_many_at_once(tmp_path: Path) -> None:
    """None trips over another's look at whether it can be written."""
    words = [sys.executable, "-c", CODE, str(tmp_path / "data")]
    running = [subprocess.Popen(words, stderr=subprocess.PIPE) for _ in range(3)]
    told = [one.communicate()[1].decode() for one in running]
    assert [one.returncode for one in running] == [0, 0, 0], told
    assert sorted(one.name for one in (tmp_path / "data").iterdir()) == ["journal", "run"]
