# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest
from small_lidc import message_xml, nodule_xml, square, write_headers

from lungcad.errors import InputError
from lungcad.lidc.images import SeriesImage, find_images
from lungcad.lidc.messages import parse_message, read_messages
from lungcad.lidc.nodules import find_nodules
from lungcad.lidc.readings import RATINGS, Mark

RATED = dict(zip(RATINGS, (5, 1, 6, 4, 3, 2, 1, 5, 4), strict=True))
NON_NODULE = (
    "<nonNodule><nonNoduleID>3</nonNoduleID><imageZposition>-2.0</imageZposition><imageSOP_UID>1</imageSOP_UID>"
    "<locus><xCoord>30</xCoord><yCoord>31</yCoord></locus></nonNodule>"
)
RADIOGRAPH = (
    '<IdriReadMessage xmlns="http://www.nih.gov/idri"><ResponseHeader><CTSeriesInstanceUid>1.2.3</CTSeriesInstanceUid>'
    "</ResponseHeader><CXRreadingSession><unblindedRead><noduleID>1</noduleID></unblindedRead></CXRreadingSession>"
    "</IdriReadMessage>"
)


def written(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def two_readers() -> str:
    first = nodule_xml("Nodule 001", square(10, 20, 6), RATED) + nodule_xml("2", [(7, 8)], None, z=2.0) + NON_NODULE
    second = nodule_xml("1", square(10, 20, 4), RATED | {"malignancy": 1}) + nodule_xml("2", [(9, 9)], {})
    return message_xml([first, second])


def test_tells_rated_outlines_small_nodules_and_non_nodules_apart(tmp_path: Path) -> None:
    message = parse_message(written(tmp_path / "069.xml", two_readers()))
    assert message is not None
    assert message.series_uid == "1.2.3"
    assert [(one.reading_id, one.reader, one.ratings["malignancy"]) for one in message.readings] == [
        ("1/Nodule 001", 1, 4), ("2/1", 2, 1),
    ]  # fmt: skip
    assert message.readings[0].ratings == RATED
    np.testing.assert_array_equal(message.readings[0].contours[0].points, square(10, 20, 6))
    assert message.marks == (
        Mark("small nodule", (7.0, 8.0, 2.0), 1),
        Mark("non-nodule", (30.0, 31.0, -2.0), 1),
        Mark("small nodule", (9.0, 9.0, 0.0), 2),  # characteristics are there, but empty
    )


def test_an_outline_without_ratings_is_no_reading(tmp_path: Path) -> None:
    message = parse_message(written(tmp_path / "1.xml", message_xml([nodule_xml("1", square(0, 0, 3), None)])))
    assert message is not None
    assert message.readings == ()
    assert message.marks == (Mark("unrated outline", (1.0, 1.0, 0.0), 1),)


def test_an_exclusion_is_told(tmp_path: Path) -> None:
    text = message_xml([nodule_xml("1", square(0, 0, 3), RATED).replace("TRUE", "FALSE")])
    message = parse_message(written(tmp_path / "1.xml", text))
    assert message is not None
    assert not message.readings[0].contours[0].inclusion


def test_radiographs_are_passed_over(tmp_path: Path) -> None:
    assert parse_message(written(tmp_path / "068.xml", RADIOGRAPH)) is None


def test_scans_get_patient_and_geometry_from_their_images(tmp_path: Path) -> None:
    written(tmp_path / "xml" / "157" / "158.xml", two_readers())
    written(tmp_path / "xml" / "157" / "159.xml", RADIOGRAPH)
    write_headers(tmp_path / "images" / "a")
    (one,), left_out = read_messages(tmp_path / "xml", find_images(tmp_path / "images"))
    assert left_out == {}
    assert (one.patient_id, one.series_uid, one.pixel_mm, one.thickness_mm, one.slice_mm) == (
        "LIDC-IDRI-0001", "1.2.3", 0.5, 2.0, 2.0,
    )  # fmt: skip
    assert one.slice_z_mm.tolist() == [-4, -2, 0, 2, 4]
    assert len(one.marks) == 3
    (nodule,) = find_nodules([one])
    assert (nodule.n_readers, nodule.mean["malignancy"]) == (2, 2.5)


def test_a_series_without_image_is_left_out_and_told(tmp_path: Path) -> None:
    written(tmp_path / "1.xml", two_readers())
    assert read_messages(tmp_path, {}) == ([], {"1.2.3": "no image"})


def test_copies_count_once_a_correction_counts_and_contradictions_are_left_out(tmp_path: Path) -> None:
    image = {"1.2.3": SeriesImage(write_headers(tmp_path / "images"), "1.2.3", "LIDC-IDRI-0101")}
    written(tmp_path / "a" / "1.xml", two_readers())
    written(tmp_path / "a" / "2.xml", two_readers().replace('uid="1"', 'uid="2"'))
    (one,), _ = read_messages(tmp_path / "a", image)
    assert len(one.readings) == 2
    other = message_xml([nodule_xml("1", square(0, 0, 8), RATED)])
    written(tmp_path / "a" / "3.xml", other)
    assert read_messages(tmp_path / "a", image) == ([], {"1.2.3": "its 3 XML files disagree"})
    written(tmp_path / "a" / "3-resubmitted-correction.xml", other)
    (one,), _ = read_messages(tmp_path / "a", image)
    assert len(one.readings) == 1


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("<LidcReadMessage>", "no element found"),
        (two_readers().replace("<malignancy>4</malignancy>", ""), "characteristics lacks malignancy"),
        (two_readers().replace("<malignancy>4</malignancy>", "<malignancy>0</malignancy>"), "malignancy is 0"),
        (two_readers().replace("<xCoord>7</xCoord>", "<xCoord>left</xCoord>"), "left"),
        (two_readers().replace("<SeriesInstanceUid>1.2.3</SeriesInstanceUid>", ""), "lacks SeriesInstanceUid"),
        (message_xml(["<unblindedReadNodule><noduleID>1</noduleID></unblindedReadNodule>"]), "lacks roi"),
    ],
)
def test_refuses_damaged_files_by_name(content: str, what: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"077\.xml is not .*{what}") as caught:
        parse_message(written(tmp_path / "077.xml", content))
    assert caught.value.code == "E-LIDC-XML"


def test_refuses_a_folder_without_readings(tmp_path: Path) -> None:
    written(tmp_path / "1.xml", RADIOGRAPH)
    with pytest.raises(InputError, match="no reading of a CT series"):
        read_messages(tmp_path, {})
