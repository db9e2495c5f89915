"""Fixtures of the pages' tests; the documents are made in :mod:`web_campaign`."""

from web_campaign import dataset, members, server_root, site, stores

__all__ = ["dataset", "members", "server_root", "site", "stores"]
