"""The names that a notebook needs, from one place: ``from ebsdsg import simulate, predict``.

Each is fetched from its module when it is first asked for, so that importing this package costs
nothing and a machine that only projects patterns never imports a database.  The modules themselves
(:mod:`ebsdsg_sim`, :mod:`ebsdsg_ml`, :mod:`stores`, :mod:`ebsdsg_flows`) hold everything else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ebsdsg_flows.any_structure import read_structure as read_structure
    from ebsdsg_flows.campaign import load_campaign as load_campaign
    from ebsdsg_flows.overview import overview as overview
    from ebsdsg_flows.prediction import find_model as find_model
    from ebsdsg_flows.run import run_until_idle as run_until_idle
    from ebsdsg_flows.session import open_stores as open_stores
    from ebsdsg_flows.submit import submit as submit
    from ebsdsg_ml.ensemble_model import load_model as load_model
    from ebsdsg_ml.experimental.read import read_patterns as read_patterns
    from ebsdsg_ml.predict import predict as predict
    from ebsdsg_ml.protocol import TrainingConfig as TrainingConfig
    from ebsdsg_ml.training import train as train
    from ebsdsg_sim.crystal import Crystal as Crystal
    from ebsdsg_sim.crystal import Site as Site
    from ebsdsg_sim.detector import Detector as Detector
    from ebsdsg_sim.hdf5 import read_master_pattern as read_master_pattern
    from ebsdsg_sim.parameters import SimulationParameters as SimulationParameters
    from ebsdsg_sim.projected import ProjectedPatterns as ProjectedPatterns
    from ebsdsg_sim.projected import project as project
    from ebsdsg_sim.simulate import simulate as simulate
    from ebsdsg_sim.subgroups import subgroup_graph as subgroup_graph
    from stores import documents as documents
    from stores import queries as queries

_MODULES = {
    "Crystal": "ebsdsg_sim.crystal",
    "Detector": "ebsdsg_sim.detector",
    "ProjectedPatterns": "ebsdsg_sim.projected",
    "SimulationParameters": "ebsdsg_sim.parameters",
    "Site": "ebsdsg_sim.crystal",
    "TrainingConfig": "ebsdsg_ml.protocol",
    "documents": "stores",
    "find_model": "ebsdsg_flows.prediction",
    "load_campaign": "ebsdsg_flows.campaign",
    "load_model": "ebsdsg_ml.ensemble_model",
    "open_stores": "ebsdsg_flows.session",
    "overview": "ebsdsg_flows.overview",
    "predict": "ebsdsg_ml.predict",
    "project": "ebsdsg_sim.projected",
    "queries": "stores",
    "read_master_pattern": "ebsdsg_sim.hdf5",
    "read_patterns": "ebsdsg_ml.experimental.read",
    "read_structure": "ebsdsg_flows.any_structure",
    "run_until_idle": "ebsdsg_flows.run",
    "simulate": "ebsdsg_sim.simulate",
    "subgroup_graph": "ebsdsg_sim.subgroups",
    "submit": "ebsdsg_flows.submit",
    "train": "ebsdsg_ml.training",
}
"""Name to the module that has it."""

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'ebsdsg' has no attribute {name!r}; it has {__all__}")
    module = _MODULES[name]
    if module == "stores":
        return import_module(f"stores.{name}")
    return getattr(import_module(module), name)


def __dir__() -> list[str]:
    return __all__
