"""Flows: stations joined, as jobflow Makers."""

from ebsdsg_flows.flows.learning import LearningFlowMaker
from ebsdsg_flows.flows.simulation import SimulationFlowMaker

__all__ = ["LearningFlowMaker", "SimulationFlowMaker"]
