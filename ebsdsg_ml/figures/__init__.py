"""Pictures of results: tables in, plotly figures (and one Pillow image) out.

Pure functions, one per figure; :mod:`~ebsdsg_ml.figures.theme` says how they look on light and on
dark, :func:`save_figure` writes them.
"""

from ebsdsg_ml.figures.calibration import reliability_figure, set_size_figure
from ebsdsg_ml.figures.comparison import method_figure
from ebsdsg_ml.figures.confusion import confusion_figure
from ebsdsg_ml.figures.elements import element_figure
from ebsdsg_ml.figures.patterns import candidate_figure, contact_sheet, debye_waller_figure
from ebsdsg_ml.figures.phases import phase_accuracy_figure, quality_figure, run_table_figure
from ebsdsg_ml.figures.save import save_figure, save_figures
from ebsdsg_ml.figures.subgroups import subgroup_figure
from ebsdsg_ml.figures.theme import (
    OKABE_ITO,
    SYMBOLS,
    FigureError,
    class_name,
    template,
    themed,
)
from ebsdsg_ml.figures.training import training_figure
from ebsdsg_ml.figures.workflow import workflow_figure

__all__ = [
    "OKABE_ITO",
    "SYMBOLS",
    "FigureError",
    "candidate_figure",
    "class_name",
    "confusion_figure",
    "contact_sheet",
    "debye_waller_figure",
    "element_figure",
    "method_figure",
    "phase_accuracy_figure",
    "quality_figure",
    "reliability_figure",
    "run_table_figure",
    "save_figure",
    "save_figures",
    "set_size_figure",
    "subgroup_figure",
    "template",
    "themed",
    "training_figure",
    "workflow_figure",
]
