"""Give the site its name and logo, which an administrator sets in Django admin.

Owns Branding and Logo. Uses no other subject, so that any subject can show the name.
"""
