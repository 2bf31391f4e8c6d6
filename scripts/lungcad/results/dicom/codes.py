# SPDX-License-Identifier: Apache-2.0
"""Codes of the DICOM results: findings, measurements, and LIDC-IDRI's attributes.

Attributes carry the codes with which LIDC-IDRI's own readings were published in DICOM (Fedorov et al., Medical Physics
2020, doi 10.1002/mp.14445), so that the same queries find both. 99LIDCQIICR is that publication's private scheme.
"""

from highdicom.sr import CodedConcept
from pydicom.sr.coding import Code

from lungcad.lidc.scale import SCALES, UNCERTAIN

LIDC_SCHEME = "99LIDCQIICR"
LIDC_SCHEME_NAME = "QIICR coding scheme for LIDC-IDRI, doi 10.1002/mp.14445"

CT_CHEST = Code("24627-2", "LN", "CT Chest")
NODULE = Code("27925004", "SCT", "Nodule")
ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")
LUNG = Code("39607008", "SCT", "Lung")
SIDES = {"right": Code("24028007", "SCT", "Right"), "left": Code("7771000", "SCT", "Left")}
UNDETERMINED = Code("373068000", "SCT", "Undetermined")

DIAMETER = Code("81827009", "SCT", "Diameter")
MEAN = Code("373098007", "SCT", "Mean")
"""Derivation of a mean diameter from both axes."""
LONG_AXIS = Code("103339001", "SCT", "Long axis")
SHORT_AXIS = Code("103340004", "SCT", "Short axis")
VOLUME = Code("118565006", "SCT", "Volume")
MEAN_HU = Code("112181", "DCM", "Mean Attenuation Coefficient")
CERTAINTY = Code("111012", "DCM", "Certainty of Finding")
MALIGNANCY = Code("RID36042", "RADLEX", "Malignancy")
MALIGNANCY_STEPS = {
    1: Code("901", LIDC_SCHEME, "1 out of 5 (Highly Unlikely for Cancer)"),
    2: Code("902", LIDC_SCHEME, "2 out of 5 (Moderately Unlikely for Cancer)"),
    3: Code("903", LIDC_SCHEME, "3 out of 5 (Indeterminate Likelihood)"),
    4: Code("904", LIDC_SCHEME, "4 out of 5 (Moderately Suspicious for Cancer)"),
    5: Code("905", LIDC_SCHEME, "5 out of 5 (Highly Suspicious for Cancer)"),
}
"""Codes of LIDC-IDRI's five steps of a reader's opinion on malignancy; reports hold no probability of cancer."""
LUNG_RADS = Code("RID50134", "RADLEX", "Lung-RADS assessment")
LUNG_RADS_CATEGORIES = {
    category: Code(f"RID{number}", "RADLEX", f"Lung-RADS {category}")
    for number, category in enumerate(("0", "1", "2", "3", "4A", "4B", "4X"), start=50135)
}
"""Codes of the categories: RadElement's set RDES195 (openimagingdata/CDEStaging); a second public list agrees."""
CENTER = Code("111010", "DCM", "Center")
COMMENT = Code("121106", "DCM", "Comment")

SUMMARY = Code("111017", "DCM", "CAD Processing and Findings Summary")
WITHOUT_FINDINGS = Code("111241", "DCM", "All algorithms succeeded; without findings")
NEURAL_NETWORK = Code("123110", "DCM", "Artificial Intelligence")

MM = Code("mm", "UCUM", "millimeter")
MM3 = Code("mm3", "UCUM", "cubic millimeter")
HU = Code("[hnsf'U]", "UCUM", "Hounsfield unit")
PERCENT = Code("%", "UCUM", "Percent")
PIXELS = Code("{pixels}", "UCUM", "Pixels")

_CONCEPTS = {
    "subtlety": Code("C45992", "NCIt", "Subtlety score"),
    "internalStructure": Code("200", LIDC_SCHEME, "Internal structure"),
    "calcification": Code("C3672", "NCIt", "Calcification"),
    "sphericity": Code("400", LIDC_SCHEME, "Sphericity"),
    "margin": Code("C25563", "NCIt", "Margin"),
    "lobulation": Code("C62175", "NCIt", "Lobular Pattern"),
    "spiculation": Code("C28749", "NCIt", "Spiculation"),
    "texture": Code("C41144", "NCIt", "Texture"),
}
_STEPS: dict[str, dict[int, Code]] = {
    "subtlety": {
        1: Code("101", LIDC_SCHEME, "1 out of 5 (Extremely subtle)"),
        2: Code("102", LIDC_SCHEME, "2 out of 5 (Moderately subtle)"),
        3: Code("103", LIDC_SCHEME, "3 out of 5 (Fairly subtle)"),
        4: Code("104", LIDC_SCHEME, "4 out of 5 (Moderately obvious)"),
        5: Code("105", LIDC_SCHEME, "5 out of 5 (Obvious)"),
    },
    "internalStructure": {1: Code("C12471", "NCIt", "Soft tissue")},
    "calcification": {6: Code("RID28473", "RADLEX", "Absent")},
    "sphericity": {
        1: Code("RID5811", "RADLEX", "linear"),
        3: Code("RID5800", "RADLEX", "ovoid"),
        5: Code("RID5799", "RADLEX", "round"),
    },
    "margin": {
        1: Code("RID5709", "RADLEX", "Indistinct margin"),
        5: Code("RID5707", "RADLEX", "Circumscribed margin"),
    },
    "lobulation": {
        1: Code("601", LIDC_SCHEME, "1 out of 5 (No lobulation)"),
        5: Code("605", LIDC_SCHEME, "5 out of 5 (Marked lobulation)"),
    },
    "spiculation": {
        1: Code("701", LIDC_SCHEME, "1 out of 5 (No spiculation)"),
        5: Code("705", LIDC_SCHEME, "5 out of 5 (Marked spiculation)"),
    },
    "texture": {
        1: Code("RID50153", "RADLEX", "non-solid pulmonary nodule"),
        3: Code("RID50152", "RADLEX", "part-solid pulmonary nodule"),
        5: Code("RID50151", "RADLEX", "solid pulmonary nodule"),
    },
}
"""Codes of the steps of each attribute; for attributes that are kinds only the usual kind, since a mean of scores can
name no other."""


def attribute_code(name: str, score: float) -> tuple[Code, Code]:
    """Concept and value of an attribute's mean score: the nearest step, or for kinds the usual one or undetermined.

    Args:
        name: one of :data:`lungcad.finding.ATTRIBUTES`.
        score: mean score on LIDC's scale of the attribute.

    Example:
        >>> [code.value for code in attribute_code("margin", 4.25)]
        ['C25563', '004']
    """
    scale = SCALES[name]
    if scale.usual is None:
        step = scale.nearest_step(score)
        unnamed = Code(f"{step:03d}", LIDC_SCHEME, f"{step} out of {scale.highest}")
        return _CONCEPTS[name], _STEPS[name].get(step, unnamed)
    is_usual = scale.in_words(score) != UNCERTAIN
    return _CONCEPTS[name], _STEPS[name][scale.usual] if is_usual else UNDETERMINED


def malignancy_code(probability: float) -> Code:
    """Code of LIDC's five steps of malignancy, by fifths of the probability that readers would rate the nodule above 3.

    Example:
        >>> malignancy_code(0.19).value, malignancy_code(0.5).value, malignancy_code(1.0).value
        ('901', '903', '905')
    """
    return MALIGNANCY_STEPS[min(int(5 * probability), 4) + 1]


def concept(code: Code) -> CodedConcept:
    """Code as an item of a DICOM sequence."""
    return CodedConcept.from_code(code)
