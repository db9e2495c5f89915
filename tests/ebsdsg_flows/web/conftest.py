"""Fixtures of the pages' tests; the documents are made in :mod:`web_campaign`."""

from web_campaign import members, server_root, site, stores

__all__ = ["members", "server_root", "site", "stores"]
