"""Lines of an annotation file: handled, or an error with the line number."""
import pytest
from mmengine.fileio import BaseStorageBackend, register_backend

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
    ('with space/video.mp4', 'no label'),
    ('video.mp4 walk', "'walk' is not an integer"),
    ('video.mp4 1.5', "'1.5' is not an integer"),
    ('video.mp4 1_0', "'1_0' is not an integer of plain digits"),
    ('video.mp4 +1', r"'\+1' is not an integer of plain digits"),
    ('video.mp4 ٣', "'٣' is not an integer of plain digits"),
    ('video.mp4 １', "'１' is not an integer of plain digits"),
    ('video.mp4 ' + '9' * 5000, "'9999.* is not an integer"),
    ('video.mp4 -1', 'label -1 is out of range, labels are 0 to 2'),
    ('video.mp4 3', 'label 3 is out of range, labels are 0 to 2'),
    ('7', 'no path'),
    ('video.mp4 120 1', "a number, '120', between path and label.*raw frames"),
    ('a b/video.avi  7 2', "a number, '7', between path and label"),
    ('v_Punch_g01_c01 77 2', "a number, '77', .*RawframeDataset"),
    ('v_Punch_g01_c01 12 77 2', "a number, '77', .*RawframeDataset"),
])
def test_wrong_line_is_named(tmp_path, line, reason):
    with pytest.raises(ValueError, match=f'list.txt:3: .*{reason}') as error:
        read(tmp_path, f'good.mp4 0\n\n{line}\ngood.mp4 1\n', num_classes=3)
    assert repr(line)[:100] in str(error.value)


@pytest.mark.parametrize('line, reason', [
    ('a.mp4 1 x 2', "'x' is not an integer"),
    ('a.mp4 walk 1', "'walk' is not an integer"),
    ('a b.mp4 1', "'b.mp4' is not an integer"),
    ('a.mp4 1 7 2', 'label 7 is out of range'),
])
def test_wrong_one_of_several_labels_is_named(tmp_path, line, reason):
    with pytest.raises(ValueError, match=reason):
        read(tmp_path, line, num_classes=3, multi_class=True)


@pytest.mark.parametrize('line', [
    'x' * 10**6, 'x' * 10**6 + ' walk', 'a.mp4 ' + 'x' * 10**6,
    'a.mp4 ' + '1' * 10**6, 'x' * 10**6 + ' 3 4'])
def test_at_most_200_characters_of_a_line_are_shown(tmp_path, line):
    with pytest.raises(ValueError) as error:
        read(tmp_path, line, num_classes=3)
    text = str(error.value).removeprefix(str(tmp_path / 'list.txt'))
    assert sum(text.count(c) for c in 'x1') <= 200
    assert len(text) < 450


def test_list_without_labels(tmp_path):
    text = 'a.mp4\nwith space/b c.webm\nno_suffix\n'
    assert read(tmp_path, text, unlabelled=True) == [
        ('a.mp4', -1), ('with space/b c.webm', -1), ('no_suffix', -1)]
    assert read(tmp_path, text.replace(' ', '_'), unlabelled=True,
                multi_class=True)[0] == ('a.mp4', [])
    with pytest.raises(ValueError, match="list.txt:1: 'a.mp4': no label"):
        read(tmp_path, text)
    # as MMAction2's build_file_list.py writes the test list of Kinetics
    assert read(tmp_path, 'a.mp4 -1\nb.mp4 -1', unlabelled=True,
                num_classes=3) == [('a.mp4', -1), ('b.mp4', -1)]
    assert read(tmp_path, 'a.mp4 2', unlabelled=True) == [('a.mp4', 2)]


@pytest.mark.parametrize('text, where', [
    ('a.mp4 0\nb.mp4\n', ":2: 'b.mp4': a line without a label"),
    ('a.mp4\nb.mp4 0\n', ":2: 'b.mp4 0': a line with a label")])
def test_list_with_some_labels(tmp_path, text, where):
    with pytest.raises(ValueError, match=where):
        read(tmp_path, text, unlabelled=True)


def test_other_encoding_is_an_error(tmp_path):
    path = tmp_path / 'list.txt'
    path.write_bytes('ünicode.mp4 1\n'.encode('latin-1'))
    with pytest.raises(ValueError, match='list.txt: not UTF-8 text'):
        read_annotations(str(path))


class Store(BaseStorageBackend):
    """An object store: files by their names, no paths."""

    def __init__(self, bucket='lists'):
        self.bucket = bucket

    def get(self, filepath):
        return self.get_text(filepath).encode()

    def get_text(self, filepath, encoding='utf-8'):
        return {'lists/a.txt': '\ufeffa.mp4 1\n'.encode()}[
            f'{self.bucket}/{filepath}'].decode(encoding)


def test_list_in_an_object_store():
    register_backend('test_store', Store, force=True)
    assert read_annotations(
        'a.txt', prefix='s3://videos', backend_args=dict(
            backend='test_store', bucket='lists')) == [
                dict(filename='s3://videos/a.mp4', label=1)]


def test_empty_and_missing_file(tmp_path):
    with pytest.raises(ValueError, match='list.txt: holds no video'):
        read(tmp_path, '\n \n')
    with pytest.raises(FileNotFoundError, match='nowhere.txt'):
        read_annotations(str(tmp_path / 'nowhere.txt'))
