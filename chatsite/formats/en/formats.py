"""English: write 2:45 PM as browsers do, not 2:45 p.m. as Django does, whose last dot would be doubled in a sentence."""

TIME_FORMAT = "g:i A"
DATETIME_FORMAT = "N j, Y, g:i A"
SHORT_DATETIME_FORMAT = "m/d/Y g:i A"
