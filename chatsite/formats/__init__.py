"""Number and date formats, for languages in which readers expect something other than Django's defaults."""
