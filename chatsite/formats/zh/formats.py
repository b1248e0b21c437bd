"""Chinese, Simplified and Traditional: 16,000 as browsers write it; Django would write 16000. Dates are Django's."""

THOUSAND_SEPARATOR = ","
NUMBER_GROUPING = 3
