"""The kinds of figures, one file each. Without a requested kind, the first one that fits the sources is drawn."""

from omnidistill.plotting.figure_kind import FigureKind
from omnidistill.plotting.kinds.gain_by_bytes import GainByBytes
from omnidistill.plotting.kinds.gain_intervals import GainIntervals
from omnidistill.plotting.kinds.reproduction import Reproduction
from omnidistill.plotting.kinds.similarity_matrix import SimilarityMatrix
from omnidistill.plotting.kinds.table_heat_map import TableHeatMap
from omnidistill.plotting.kinds.training_curves import TrainingCurves

KINDS: tuple[FigureKind, ...] = (
    GainByBytes(),
    TrainingCurves(),
    GainIntervals(),
    TableHeatMap(),
    SimilarityMatrix(),
    Reproduction(),
)
