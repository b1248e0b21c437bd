"""Manage users: sign-up and sign-in, second factors, devices, and notices to individual users.

Owns User and AccountNotice, the pages under /account/ and /accounts/, and the configuration of django-allauth.
Uses common. The access app decides who may use the site and how much.
"""
