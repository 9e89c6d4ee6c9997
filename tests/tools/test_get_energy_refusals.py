"""What the energy tool refuses, and that it names it."""
import pytest

from respike_mmaction.energy.measurement import check_exists


def test_absent_data_is_named(get_energy, folder, tsn_config):
    with pytest.raises(FileNotFoundError, match='--input'):
        get_energy.main([str(tsn_config), '--out-dir', str(folder / 'out')])
    with pytest.raises(FileNotFoundError, match='none.mp4'):
        get_energy.main([str(tsn_config), '--input', 'none.mp4',
                         '--out-dir', str(folder / 'out')])


def test_absent_weights_are_named(get_energy, folder, tsn_config):
    """Although only shapes of this config are run."""
    with pytest.raises(FileNotFoundError, match='none.pth'):
        get_energy.main([str(tsn_config), 'none.pth', '--input',
                         str(folder / 'a.mp4'), '--out-dir',
                         str(folder / 'out')])
    check_exists('https://nowhere.invalid/weights.pth')


@pytest.mark.parametrize('accuracy', ['-1', '100.5', 'nan'])
def test_refuses_an_impossible_accuracy(get_energy, folder, accuracy):
    with pytest.raises(ValueError, match=f'accuracy={float(accuracy)!r}'):
        get_energy.main([str(folder / 'tiny.py'), f'--accuracy={accuracy}',
                         '--out-dir', str(folder / 'out')])


def test_refuses_frame_folders_as_input(get_energy, folder):
    text = (folder / 'tiny.py').read_text().replace(
        "dict(type='PyAVInit'),", '').replace('PyAVDecode', 'RawFrameDecode')
    (folder / 'frames.py').write_text(text)
    with pytest.raises(ValueError, match='folders of frames'):
        get_energy.main([str(folder / 'frames.py'), '--input',
                         str(folder / 'a.mp4'), '--out-dir',
                         str(folder / 'out')])


@pytest.mark.parametrize('loader', ['', 'test_dataloader = None'])
def test_needs_a_test_set_or_an_input(get_energy, folder, loader):
    text = (folder / 'tiny.py').read_text().replace(
        'test_dataloader = ', f'{loader}\nother = ')
    (folder / 'no_set.py').write_text(text)
    with pytest.raises(ValueError, match='no test set .* --input'):
        get_energy.main([str(folder / 'no_set.py'), '--out-dir',
                         str(folder / 'out')])


def test_energy_models_of_a_file(get_energy, folder):
    path = folder / 'models.py'
    path.write_text('energy_models = [dict(name="a")]')
    assert get_energy.read_energy_models(str(path)) == [dict(name='a')]
    path.write_text('models = []')
    with pytest.raises(ValueError, match='models.py.*`energy_models`'):
        get_energy.main([str(folder / 'tiny.py'), '--energy-models', str(path),
                         '--out-dir', str(folder / 'out')])


@pytest.mark.parametrize('text', [
    '[1]', '{"config": "a"}', 'no JSON', '', '[' * 100000, '{"a":' * 100000
], ids=range(6))
def test_plots_reports_only(get_energy, folder, text):
    (folder / 'odd.json').write_text(text)
    with pytest.raises(ValueError, match='odd.json.* is not a report'):
        get_energy.main(['--plot', str(folder / 'odd.json'), '--out-dir',
                         str(folder / 'out')])
