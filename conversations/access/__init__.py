"""Decide who may use the site and how much: previews, invitations, guests, terms and allowances.

Owns Preview, Invitation, Membership and their records, the access check in front of every page, and the pages for joining.
Uses accounts, limits, catalogue and common.
"""
