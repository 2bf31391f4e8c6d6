# SPDX-License-Identifier: Apache-2.0
"""Network definitions, one module per paper."""
