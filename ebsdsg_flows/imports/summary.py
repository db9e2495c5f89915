"""What an import did, in a few lines."""

from __future__ import annotations

from stores.documents import ImportDocument

COUNTS = ("new", "changed", "unchanged", "deprecated", "outside", "refused")
SHOWN = 10


def summary(document: ImportDocument) -> str:
    """Lines for a person: counts, the first refusals, and what is missing.

    Parameters
    ----------
    document : of an import that has ended.
    """
    version = f", database {document.database_version}" if document.database_version else ""
    counts = ", ".join(f"{document.counts.get(name, 0)} {name}" for name in COUNTS)
    lines = [f"import {document.state} from {document.source}{version}", f"  {counts}"]
    lines += [f"  refused {entry.reason}" for entry in document.refused[:SHOWN]]
    if (more := document.counts.get("refused", 0) - SHOWN) > 0:
        lines.append(
            f'  … and {more} more: ebsdsg query \'{{"key": "{document.key}"}}\' -c imports'
        )
    by_reason: dict[str, list[str]] = {}
    for part in document.missing:
        by_reason.setdefault(part.reason, []).append(
            f"{len(part.ids)} entries"
            if part.what == "entries"
            else f"page {part.page} of "
            + ("the list" if part.group is None else f"the list of space group {part.group}")
        )
    for reason, parts in by_reason.items():
        shown = ", ".join(parts[:SHOWN]) + (" …" if len(parts) > SHOWN else "")
        lines.append(f"  missing {shown}: {reason}")
    if document.missing:
        lines.append("  import again with --resume to read what is missing")
    return "\n".join(lines)
