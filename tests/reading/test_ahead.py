# SPDX-License-Identifier: Apache-2.0
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_cases import small_chest, write_image

import lungcad
from lungcad.errors import InputError
from lungcad.phantom import write_series
from lungcad.reading import ahead

SAME = """
import os, signal, sys
import numpy as np
from lungcad.errors import InputError
from lungcad.reading import ahead, read_volume
from lungcad.scan.lungs import segment_lungs

os.sched_getaffinity = lambda _: {0, 1}
for path in sys.argv[1:]:
    ahead.begin_reading(path, None, None, {})
    assert ahead.take_begun(path, "another", None, {}) is None
    one = ahead.take_begun(path, None, None, {})
    volume, lungs = one.result()
    plain = read_volume(path)
    assert np.array_equal(volume.hu, plain.hu) and np.array_equal(volume.affine, plain.affine)
    assert volume.series_uid == plain.series_uid and volume.sop_instance_uids == plain.sop_instance_uids
    assert [(text, text.code) for text in volume.warnings] == [(text, text.code) for text in plain.warnings]
    assert volume.origin == plain.origin and (volume.origin.series is None) == (plain.origin.series is None)
    found = segment_lungs(plain)
    assert np.array_equal(lungs.mask, found.mask) and lungs.warnings == found.warnings
    assert set(one.seconds) == {"read", "lungs"} and ahead.take_begun(path, None, None, {}) is None

ahead.begin_reading(path)
killed = ahead.take_begun(path, None, None, {})
os.kill(killed._child, signal.SIGKILL)
volume, lungs = killed.result()
assert np.array_equal(volume.hu, plain.hu) and np.array_equal(lungs.mask, found.mask)

ahead.segment_lungs = lambda volume: (_ for _ in ()).throw(InputError("E-NO-LUNG", "none"))
ahead.begin_reading(path)
try:
    ahead.take_begun(path, None, None, {}).result()
except InputError as error:
    assert error.code == "E-NO-LUNG"
else:
    raise AssertionError
assert not {"torch", "monai", "scipy.optimize"} & set(sys.modules)
"""


def test_child_reads_what_this_process_would(tmp_path: Path) -> None:
    """Series and file, the latter with its slices from head to foot; a child that dies; lungs that are refused."""
    hu, affine = small_chest()
    write_series(tmp_path / "series", hu.round(), affine)
    down = affine.copy()
    down[:3, 2] *= -1
    file = write_image(tmp_path / "down.nii.gz", hu, down)
    environment = os.environ | {"PYTHONPATH": str(Path(lungcad.__file__).parents[1])}
    command = [sys.executable, "-c", SAME, str(tmp_path / "series"), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr


def test_bad_headers_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="E-NO-DICOM"):
        ahead.begin_reading(str(tmp_path))
    assert ahead.take_begun(str(tmp_path), None, None, {}) is None


def test_values_of_another_kind_are_left_to_the_run(tmp_path: Path) -> None:
    ahead.begin_reading(str(tmp_path), leniency="tilt")  # no header is read, which would be refused
    ahead.begin_reading(str(tmp_path), series_uid=["1.2"])
    assert ahead.take_begun(str(tmp_path), None, None, "tilt") is None
    assert ahead.take_begun(str(tmp_path), ["1.2"], None, {}) is None
