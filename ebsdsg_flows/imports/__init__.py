"""Bringing entries of a source into the database, completely or saying what is missing."""

from ebsdsg_flows.imports.any_source import import_source
from ebsdsg_flows.imports.client import MaterialsProject
from ebsdsg_flows.imports.display import ImportDisplay
from ebsdsg_flows.imports.errors import ImportFailed, MaterialsProjectError, NoAnswer, Rejected
from ebsdsg_flows.imports.materials_project import import_materials_project
from ebsdsg_flows.imports.summary import summary

__all__ = [
    "ImportDisplay",
    "ImportFailed",
    "MaterialsProject",
    "MaterialsProjectError",
    "NoAnswer",
    "Rejected",
    "import_materials_project",
    "import_source",
    "summary",
]
