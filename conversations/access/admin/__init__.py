"""Django admin for access. Importing this package registers its model admins."""

from . import invitations, previews, site

__all__ = ["invitations", "previews", "site"]
