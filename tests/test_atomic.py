# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from lungcad.atomic import whole_file


def test_a_file_is_there_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "new" / "name.npz"
    with whole_file(path) as part:
        part.write_text("first")
        assert not path.exists()
    with pytest.raises(RuntimeError), whole_file(path) as part:
        part.write_text("hal")
        raise RuntimeError
    assert path.read_text() == "first"
    assert list(path.parent.iterdir()) == [path]
