"""The kinds of document, one MongoDB collection each.

Each is a pydantic model that refuses unknown fields; ``to_mongo`` and ``from_mongo`` are the way to
and from the database.
"""

from stores.documents.base import Document, DocumentError, FileReference, Part, short
from stores.documents.campaign import CampaignDocument, MemberDocument, Skipped
from stores.documents.experimental import (
    ExperimentalPatternsDocument,
    PatternPhase,
    PatternSource,
)
from stores.documents.learning import (
    ConfusionMatrix,
    DatasetDocument,
    EnsembleDocument,
    LabelKind,
    Member,
    PhaseAccuracy,
    PredictionDocument,
    TrainingRunDocument,
)
from stores.documents.simulation import (
    Attempt,
    Claim,
    EngineReference,
    Failure,
    MasterPatternDocument,
    Owner,
    RunDocument,
    SimulationDocument,
    simulation_key,
)
from stores.documents.source_structure import (
    ImportDocument,
    Listing,
    Missing,
    Origin,
    Refusal,
    SourceStructureDocument,
    entry_hash,
)
from stores.documents.structure import (
    Descent,
    ElementStatistics,
    Relabel,
    Source,
    SpaceGroup,
    StructureDocument,
    ToleranceResult,
    UnusableStructureDocument,
    crystal_hash,
    crystal_identity,
    label_reason,
)

DOCUMENTS: tuple[type[Document], ...] = (
    ImportDocument,
    SourceStructureDocument,
    StructureDocument,
    UnusableStructureDocument,
    SimulationDocument,
    RunDocument,
    MasterPatternDocument,
    DatasetDocument,
    ExperimentalPatternsDocument,
    TrainingRunDocument,
    EnsembleDocument,
    PredictionDocument,
    CampaignDocument,
    MemberDocument,
)
"""All models, in the order of the work."""

__all__ = [
    "DOCUMENTS",
    "Attempt",
    "CampaignDocument",
    "Claim",
    "ConfusionMatrix",
    "DatasetDocument",
    "Descent",
    "Document",
    "DocumentError",
    "ElementStatistics",
    "EngineReference",
    "EnsembleDocument",
    "ExperimentalPatternsDocument",
    "Failure",
    "FileReference",
    "ImportDocument",
    "LabelKind",
    "Listing",
    "MasterPatternDocument",
    "Member",
    "MemberDocument",
    "Missing",
    "Origin",
    "Owner",
    "Part",
    "PatternPhase",
    "PatternSource",
    "PhaseAccuracy",
    "PredictionDocument",
    "Refusal",
    "Relabel",
    "RunDocument",
    "SimulationDocument",
    "Skipped",
    "Source",
    "SourceStructureDocument",
    "SpaceGroup",
    "StructureDocument",
    "ToleranceResult",
    "TrainingRunDocument",
    "UnusableStructureDocument",
    "crystal_hash",
    "crystal_identity",
    "entry_hash",
    "label_reason",
    "short",
    "simulation_key",
]
