"""Code shared by several subjects: Markdown, mails, downloads, codes and base classes for admin pages.

It has no tables, and imports nothing from other subjects, so that any subject may import it. Code that only one subject
needs belongs in that subject.
"""
