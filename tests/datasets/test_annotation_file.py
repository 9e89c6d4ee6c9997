"""Lines of an annotation file: handled, or an error with the line number."""
import pytest

from respike_mmaction.datasets.annotation_file import read_annotations


def read(tmp_path, text, **kwargs):
    path = tmp_path / 'list.txt'
    path.write_bytes(text.encode())
    return [(s['filename'], s['label'])
            for s in read_annotations(str(path), **kwargs)]


def test_lines_are_handled(tmp_path):
    text = ('\ufeffa/plain.mp4 0\r\n'
            '\r\n'
            'air drumming/with  spaces.mp4 2\r\n'
            '   \n'
            'tail/trailing.mp4 1  \n'
            'ünicode/名.mp4 1\n'
            'take 3/v1.0 4.mp4 1\n'
            'no/newline.mp4 2')
    assert read(tmp_path, text, num_classes=3) == [
        ('a/plain.mp4', 0), ('air drumming/with  spaces.mp4', 2),
        ('tail/trailing.mp4', 1), ('ünicode/名.mp4', 1),
        ('take 3/v1.0 4.mp4', 1), ('no/newline.mp4', 2)
    ]


def test_prefix_and_delimiter(tmp_path):
    assert read(tmp_path, 'a b.mp4,1\n', prefix='videos/root',
                delimiter=',') == [('videos/root/a b.mp4', 1)]


def test_several_labels(tmp_path):
    assert read(tmp_path, 'a.mp4 1 3\nb.mp4 0\n', multi_class=True,
                num_classes=4) == [('a.mp4', [1, 3]), ('b.mp4', [0])]


@pytest.mark.parametrize('line, reason', [
    ('video.mp4', 'no label'),
    ('with space/video.mp4', "'space/video.mp4' is not an integer"),
    ('video.mp4 walk', "'walk' is not an integer"),
    ('video.mp4 1.5', "'1.5' is not an integer"),
    ('video.mp4 -1', 'label -1 is out of range, labels are 0 to 2'),
    ('video.mp4 3', 'label 3 is out of range, labels are 0 to 2'),
    ('7', 'no label'),
    ('video.mp4 120 1', 'a number between path and label'),
    ('a b/video.avi  7 2', 'a number between path and label'),
])
def test_wrong_line_is_named(tmp_path, line, reason):
    with pytest.raises(ValueError, match=f'list.txt:3: .*{reason}') as error:
        read(tmp_path, f'good.mp4 0\n\n{line}\ngood.mp4 1\n', num_classes=3)
    assert repr(line) in str(error.value)


def test_other_encoding_is_an_error(tmp_path):
    path = tmp_path / 'list.txt'
    path.write_bytes('ünicode.mp4 1\n'.encode('latin-1'))
    with pytest.raises(ValueError, match='list.txt: not UTF-8 text'):
        read_annotations(str(path))


def test_empty_and_missing_file(tmp_path):
    with pytest.raises(ValueError, match='list.txt: holds no video'):
        read(tmp_path, '\n \n')
    with pytest.raises(FileNotFoundError, match='nowhere.txt'):
        read_annotations(str(tmp_path / 'nowhere.txt'))
