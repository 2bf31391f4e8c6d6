# SPDX-License-Identifier: Apache-2.0
"""Follow-up: two CTs of one patient, their lungs registered, their findings matched, and growth with its error.

``registration.py`` maps places, ``search.py`` looks for a nodule where it should be, ``matching.py`` pairs findings,
``sides.py`` measures both scans alike, ``mass.py`` checks a change of volume, ``growth.py`` judges a pair,
``category.py`` proposes a category, ``comparison.py`` puts them together; ``exam.py`` and ``pair.py`` say what may be
compared, ``documents.py``, ``page.py``, ``text.py`` and ``dicom.py`` write.
"""

from lungcad.followup.comparison import Comparison, Lesion, compare
from lungcad.followup.exam import Exam, read_exam
from lungcad.followup.registration import Registration, register
from lungcad.followup.write import write_comparison

__all__ = ["Comparison", "Exam", "Lesion", "Registration", "compare", "read_exam", "register", "write_comparison"]
