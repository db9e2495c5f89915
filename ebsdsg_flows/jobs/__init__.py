"""Jobs: one station of the campaign each, as jobflow Makers."""

from ebsdsg_flows.jobs.learning import DatasetMaker, EvaluationMaker, TrainingMaker
from ebsdsg_flows.jobs.reports import ReportMaker
from ebsdsg_flows.jobs.simulations import MasterPatternMaker, MonteCarloMaker
from ebsdsg_flows.jobs.structures import RelabelMaker

__all__ = [
    "DatasetMaker",
    "EvaluationMaker",
    "MasterPatternMaker",
    "MonteCarloMaker",
    "RelabelMaker",
    "ReportMaker",
    "TrainingMaker",
]
