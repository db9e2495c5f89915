"""The documentation's page of the speed of the web pages, from what ``web.py`` measured."""

from __future__ import annotations

from typing import Any

from web_database import GROUP_PHASES

LIMIT_ALONE = 300.0
"""Milliseconds that a page may take alone."""

QUIET = 3.0
BUSY = (
    "**Other programs kept the machine busy while this was measured** (see the load): the wall "
    "times, and the limits that they miss, are of that load and not of the pages; the processor "
    "times and the errors are. Ask again on a quiet machine."
)
"""What the page says above a load of :data:`QUIET` before the start."""


def page_of(result: dict[str, Any]) -> str:
    """The page of the documentation."""
    slow = [r["page"] for r in result["one_reader"] if r["median_ms"] > LIMIT_ALONE]
    slow_first = [r["page"] for r in result["one_reader"] if r["first_ms"] > LIMIT_ALONE]
    every = result["together"][-1]
    lines = [
        "# Speed of the web pages",
        "",
        "Written by `python benchmarks/web.py --json docs/performance/data/web.json "
        "--page docs/performance/web.md`.",
        "",
        f"{result['simulations']:,} simulations with a run each and {result['structures']:,} "
        f"structures on the embedded server, training runs of {6 * GROUP_PHASES:,} phases; "
        f"`ebsdsg web` in one process; {result['machine']}. Readers, server, database and writers "
        "share the machine.",
        "",
        *([BUSY, ""] if result["load_before"] > QUIET else []),
        f"**One reader.** Longer than {LIMIT_ALONE:.0f} ms, median: "
        f"{_listed(slow)}; at the first time: {_listed(slow_first)}. The first answer after the "
        "start may build a count or a picture that later ones use (a campaign's page comes "
        "without its counts then, and asks for them). *CPU* is that of server and database for "
        "one answer.",
        "",
        "| page | first [ms] | median [ms] | longest [ms] | CPU [ms] | errors |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| `{r['page']}` | {r['first_ms']} | {r['median_ms']} | {r['longest_ms']} | {r['cpu_ms']} "
        f"| {r['errors']} |"
        for r in result["one_reader"]
    ]
    writes = ", ".join(f"{n} {what}" for what, n in sorted(result["writes"].items()))
    lines += [
        "",
        f"**{result['readers']} readers**, each a second on a page, for {result['seconds']:.0f} s, "
        f"while workers wrote ({writes}): {every['errors']} errors in {every['answers']:,} "
        f"answers, 95 of 100 within {every['p95_ms']} ms; load at the end "
        f"{result['load_after']}.",
        "",
        "| page | answers | errors | median [ms] | 95 of 100 [ms] | longest [ms] |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| `{r['page']}` | {r['answers']} | {r['errors']} | {r['median_ms']} | {r['p95_ms']} | "
        f"{r['longest_ms']} |"
        for r in result["together"]
    ]
    return "\n".join([*lines, ""])


def _listed(pages: list[str]) -> str:
    return ", ".join(f"`{page}`" for page in pages) or "none"
