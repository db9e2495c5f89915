"""Where structures come from: files, any maggma store, what was imported, or the packaged set.

Every source gives the same items: identifier, structure, origin and licence.  A bad entry among
many is reported with its reason and the others go on; a single bad file is an error.
"""

from ebsdsg_flows.sources.files import CIF_LICENCE, DEMO_FILE, demo_file
from ebsdsg_flows.sources.items import (
    DEMO,
    IMPORTED,
    MATERIALS_PROJECT,
    NAMED,
    NON_COMMERCIAL,
    Limits,
    Outside,
    Query,
    Refused,
    SourceError,
    SourceItem,
    Wanted,
    every_entry,
    wanted_by,
)
from ebsdsg_flows.sources.selection import is_wanted, iterate, read_sources, space_group_of

__all__ = [
    "CIF_LICENCE",
    "DEMO",
    "DEMO_FILE",
    "IMPORTED",
    "MATERIALS_PROJECT",
    "NAMED",
    "NON_COMMERCIAL",
    "Limits",
    "Outside",
    "Query",
    "Refused",
    "SourceError",
    "SourceItem",
    "Wanted",
    "demo_file",
    "every_entry",
    "is_wanted",
    "iterate",
    "read_sources",
    "space_group_of",
    "wanted_by",
]
