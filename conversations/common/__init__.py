"""Code shared by several subjects: Markdown, mails, downloads, codes and base classes for admin pages.

It has no tables, and imports only branding, for the name of the site in mails, so that any other subject may import it. Code
that only one subject needs belongs in that subject.
"""
