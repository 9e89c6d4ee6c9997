"""AOTInductor compiles a network: ``pytest tests/stress/test_aoti.py``."""
from respike_mmaction.deployment import export_clips
from tests.deployment.test_export import SIZE, model, runs_alone

__all__ = ['model']


def test_the_package_runs_alone(model, tmp_path):  # noqa: F811
    export_clips(model, tmp_path / 'clips.pt2', SIZE, 'aoti', preprocess=True)
    runs_alone(tmp_path / 'clips.pt2', 'aoti', model, tmp_path)
