"""Chinese, Simplified and Traditional: write 16,000 as browsers do, not 16000 as Django does. Dates are Django's."""

THOUSAND_SEPARATOR = ","
NUMBER_GROUPING = 3
