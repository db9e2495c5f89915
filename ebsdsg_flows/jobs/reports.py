"""The last station: the campaign's static report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jobflow import Maker, job


@dataclass
class ReportMaker(Maker):
    """Write the static report of a campaign."""

    name: str = "report"

    @job
    def make(self, campaign: str, evaluations: dict[str, Any]) -> str:
        """Write it.

        Parameters
        ----------
        campaign : name.
        evaluations : outputs of the evaluations, so that the report comes after them.

        Returns
        -------
        Path of the report.
        """
        from ebsdsg_flows.report import write_report
        from ebsdsg_flows.session import open_stores
        from ebsdsg_flows.settings import get_settings

        stores = open_stores()
        path = write_report(stores, campaign, get_settings().root / "reports" / campaign)
        stores.campaigns.update_one({"key": campaign}, {"$set": {"progress.report": str(path)}})
        return str(path)
