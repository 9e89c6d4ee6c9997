"""Pictures of a training are written and say what was in it."""
import matplotlib.pyplot as plt
import numpy as np
import pytest

from respike_mmaction.visualization import (
    draw_comparison,
    draw_confusion,
    draw_curves,
    draw_firing_rates,
)


@pytest.fixture
def figures(monkeypatch):
    """What is drawn, while it is closed."""
    found = []
    monkeypatch.setattr(plt, 'close', found.append)
    yield found
    monkeypatch.undo()
    plt.close('all')


def test_confusions_are_in_percent_and_names_within(figures, tmp_path):
    classes = ['counter-clockwise', '$a$ long name of a class', 'up']
    draw_confusion([[3, 1, 0, 0], [0, 0, 0, 2], [0, 0, 5, 0]], classes,
                   tmp_path / 'matrix.png')
    figure, = figures
    axis = figure.axes[0]
    np.testing.assert_array_equal(
        axis.images[0].get_array(),
        [[75, 25, 0, 0], [0, 0, 0, 100], [0, 0, 100, 0]])
    assert [t.get_text() for t in axis.texts] == ['75', '25', '100', '100']
    shown = [t.get_text().replace('\\', '') for t in axis.get_xticklabels()]
    assert shown == [*classes, 'unreadable']
    whole = figure.bbox
    for text in (*axis.get_xticklabels(), *axis.get_yticklabels()):
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.y0 >= 0
        assert box.x1 <= whole.x1 and box.y1 <= whole.y1


def test_no_column_of_unreadable_videos_where_none_is(figures, tmp_path):
    draw_confusion([[1, 1, 0], [0, 0, 0]], ['a', 'b'], tmp_path / 'm.png')
    image = figures[0].axes[0].images[0].get_array()
    np.testing.assert_array_equal(image, [[50, 50], [0, 0]])


def test_curves_have_a_panel_each_and_an_axis_of_epochs(figures, tmp_path):
    draw_curves(dict(loss=dict(loss=([10, 20], [2., 1.])),
                     accuracy=dict(top1=([20], [.5]))),
                tmp_path / 'curves.png', epoch=10)
    loss, accuracy = figures[0].axes[:2]
    assert [*loss.lines[0].get_ydata()] == [2., 1.]
    assert accuracy.get_ylabel() == 'accuracy'
    above, = loss.child_axes
    assert above.get_xlabel() == 'epoch'
    draw_firing_rates({'layer1': ([10], [.25])}, tmp_path / 'rates.png')
    assert [*figures[1].axes[0].lines[0].get_ydata()] == [25.]
    assert (tmp_path / 'rates.png').stat().st_size


def test_comparison_marks_what_is_not_known(figures, tmp_path):
    draw_comparison(['a', 'b'], {'top-1 / %': [None, 50.], 'mJ': [1., 2.]},
                    tmp_path / 'compare.png')
    first, second = figures[0].axes
    assert [t.get_text() for t in first.texts] == ['?', '50']
    assert [bar.get_width() for bar in second.patches] == [1., 2.]
