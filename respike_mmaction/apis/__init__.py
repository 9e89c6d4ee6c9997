"""What one does with a trained network; imported by no training."""
from .ablation import ablation_table, gather_runs
from .accelerate import accelerate
from .answer_files import AnswerFile, looked_at, table_line
from .factorial import effects_table, factorial_design, main_effects
from .grad_cam import grad_cam
from .live_frames import LiveFrames
from .live_stream import LiveStream, energy_per_frame
from .predict import Prediction, predict, predict_sources
from .scalars import last_accuracy, read_scalars, series
from .sources import FrameSource, Source, expand
from .stream import Answer, StreamingRecognizer
from .stream_state import StreamState
from .timeline import Segment, Timeline, write_scores, write_segments
from .trace import Trace, read_clip, trace_clip
from .trained import TrainedNetwork, load_trained
from .windows import Span

__all__ = [
    'Answer', 'AnswerFile', 'FrameSource', 'LiveFrames', 'LiveStream',
    'Prediction', 'Segment', 'Source', 'Span', 'StreamState',
    'StreamingRecognizer', 'Timeline', 'Trace', 'TrainedNetwork',
    'ablation_table', 'accelerate', 'effects_table', 'energy_per_frame',
    'expand', 'factorial_design', 'gather_runs', 'grad_cam', 'last_accuracy',
    'load_trained', 'looked_at', 'main_effects', 'predict', 'predict_sources',
    'read_clip', 'read_scalars', 'series', 'table_line', 'trace_clip',
    'write_scores', 'write_segments'
]
