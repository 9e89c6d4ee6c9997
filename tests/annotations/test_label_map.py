"""Label maps are read, or refused by name."""
import pytest

from respike_mmaction.annotations.label_map import read_label_map


def test_names_in_the_order_of_their_labels(tmp_path):
    path = tmp_path / 'label_map.txt'
    path.write_bytes('\ufeffride bike\r\nzürnen\r\n做饭\r\n\r\n'.encode())
    assert read_label_map(path) == ['ride bike', 'zürnen', '做饭']
    assert read_label_map(path, 3) == read_label_map(str(path))
    with pytest.raises(ValueError, match='names 3 classes, but there are 2'):
        read_label_map(path, 2)


@pytest.mark.parametrize('content, reason', [
    (b'a\n' * 2**20, 'has 2097152 bytes'),
    (b'a\n\xff\xfe', 'UTF-8'),
    ('a\nb\n'.encode('utf-16'), 'UTF-8'),
    (b'a\n\nb', r"line 2: ''"),
    (b'', r"line 1: ''"),
    (b'a\nb\na', "line 3: 'a' is the name of label 0"),
    (b'a\nb\0', 'line 2'),
    (b'\0' + b'x' * 2**17, r"line 1: '.{,160}\.\.\.' is no name"),
    (b'a\n\x1b[2Jb', 'line 2'),
])
def test_anything_else_is_refused(tmp_path, content, reason):
    path = tmp_path / 'label_map.txt'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf'label_map\.txt.*{reason}'):
        read_label_map(path)


def test_absent(tmp_path):
    with pytest.raises(FileNotFoundError, match='label_map'):
        read_label_map(tmp_path / 'label_map.txt')
