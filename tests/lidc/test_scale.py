# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import pytest

import lungcad
from lungcad.finding import ATTRIBUTES
from lungcad.lidc.scale import SCALE_ENDS, SCALES
from lungcad.scores.predictions import SCALE_ENDS as TABLE_ENDS

DEGREES = [name for name in ATTRIBUTES if SCALES[name].usual is None]


def test_scales_are_those_of_the_attributes() -> None:
    assert tuple(SCALES) == ATTRIBUTES
    assert [SCALE_ENDS[name] for name in ATTRIBUTES] == [5, 4, 6, 5, 5, 5, 5, 5]
    assert TABLE_ENDS is SCALE_ENDS


@pytest.mark.parametrize("name", DEGREES)
def test_every_step_has_its_own_word(name: str) -> None:
    scale = SCALES[name]
    words = [scale.in_words(step) for step in range(1, scale.highest + 1)]
    assert words == list(scale.steps) and len(set(words)) == 5


@pytest.mark.parametrize(
    ("score", "word"),
    [(1.49, "poorly defined"), (1.5, "near poorly defined"), (2.5, "medium"), (3.49, "medium"), (3.5, "near sharp"),
     (4.51, "sharp"), (0.2, "poorly defined"), (-3.0, "poorly defined"), (5.7, "sharp")],
)  # fmt: skip
def test_between_steps_the_nearest_and_beyond_them_the_end(score: float, word: str) -> None:
    assert SCALES["margin"].in_words(score) == word


@pytest.mark.parametrize(
    ("name", "score", "word"),
    [("internalStructure", 1.0, "soft tissue"), ("internalStructure", 1.49, "soft tissue"),
     ("internalStructure", 1.5, "uncertain"), ("internalStructure", 4.0, "uncertain"),
     ("calcification", 6.0, "absent"), ("calcification", 5.51, "absent"), ("calcification", 5.5, "uncertain"),
     ("calcification", 3.0, "uncertain"), ("calcification", 1.0, "uncertain")],
)  # fmt: skip
def test_mean_of_categories_names_only_what_most_nodules_have(name: str, score: float, word: str) -> None:
    assert SCALES[name].in_words(score) == word


def test_category_that_is_named_is_that_of_most_readers() -> None:
    # Four readers, and every score that they can give: where the mean has a word, more than half of them said it.
    scale = SCALES["calcification"]
    every = [(a, b, c, d) for a in range(1, 7) for b in range(1, 7) for c in range(1, 7) for d in range(1, 7)]
    named = [scores for scores in every if scale.in_words(sum(scores) / 4) == "absent"]
    assert (6, 6, 6, 5) in named and all(scores.count(6) > 2 for scores in named)


def test_schema_tells_the_same_words() -> None:
    schema = json.loads((Path(lungcad.__file__).parent / "results" / "schemas" / "nodules.schema.json").read_text())
    told = schema["$defs"]["finding"]["properties"]["attributes"]["properties"]
    for name, scale in SCALES.items():
        assert told[name]["description"] == ", ".join(f"{step} {word}" for step, word in enumerate(scale.steps, 1))
