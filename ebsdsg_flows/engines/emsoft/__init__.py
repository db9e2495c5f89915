"""EMsoft as an engine: its programs driven, supervised and believed only when their files agree."""

from ebsdsg_flows.engines.emsoft.engine import EMsoftEngine

__all__ = ["EMsoftEngine"]
