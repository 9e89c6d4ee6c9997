"""ImageNet weights fit, or there is an error that says what does not."""
import pytest
import torch
from mmaction.models import MobileNetV2, ResNet, ResNetTSM

from respike_mmaction.models import SpikingResNet
from respike_mmaction.models.pretrained import check_pretrained


def torchvision_weights(path, depth=18, change=None):
    """A file in torchvision's layout, made from MMAction2's ResNet."""
    weights = {}
    for name, value in ResNet(depth).state_dict().items():
        *module, kind, leaf = name.split('.')
        if module[-1] == 'downsample':
            module.append('0' if kind == 'conv' else '1')
        elif kind == 'bn':
            module[-1] = module[-1].replace('conv', 'bn')
        weights['.'.join([*module, leaf])] = value.half()
    weights['fc.weight'], weights['fc.bias'] = torch.rand(9, 2), torch.rand(9)
    if change:
        change(weights)
    torch.save(weights, path)
    return str(path)


@pytest.mark.parametrize('depth', [18, 50])
def test_real_weights_fit_and_are_loaded(shared_data, depth):
    """Stored as float16, loaded into float32."""
    path = shared_data / f'weights/resnet{depth}_imagenet_fp16.pth'
    backbone = ResNet(depth, pretrained=str(path))
    check_pretrained(backbone)
    backbone.init_weights()
    stored = torch.load(path)
    stored = stored.get('state_dict', stored)
    for ours, theirs in (('conv1.conv.weight', 'conv1.weight'),
                         ('layer4.0.downsample.bn.running_var',
                          'layer4.0.downsample.1.running_var')):
        value = backbone.state_dict()[ours]
        assert value.dtype == torch.float32
        assert torch.equal(value, stored[theirs].float())


@pytest.mark.parametrize('kind, options', [
    (ResNet, {}), (ResNetTSM, dict(num_segments=4, pretrained2d=True))])
def test_torchvision_layout_fits(tmp_path, kind, options):
    path = torchvision_weights(tmp_path / 'weights.pth')
    check_pretrained(kind(depth=18, pretrained=path, **options))


@pytest.mark.parametrize('change, fault', [
    (lambda w: w.pop('layer2.0.conv1.weight'),
     '1 missing: layer2.0.conv1.weight'),
    (lambda w: w.update({'layer9.conv.weight': torch.rand(1)}),
     '1 unknown: layer9.conv.weight'),
    (lambda w: w.update({'conv1.weight': torch.rand(64, 1, 7, 7)}),
     r'1 of another shape: conv1.weight \(64, 1, 7, 7\) instead of '
     r'\(64, 3, 7, 7\)'),
])
def test_what_does_not_fit_is_named(tmp_path, change, fault):
    path = torchvision_weights(tmp_path / 'weights.pth', change=change)
    with pytest.raises(ValueError, match=f'weights.pth do not fit.*{fault}'):
        check_pretrained(ResNet(18, pretrained=path))


def test_another_depth_does_not_fit(tmp_path):
    path = torchvision_weights(tmp_path / 'weights.pth', depth=18)
    with pytest.raises(ValueError, match='do not fit ResNet: .*missing'):
        check_pretrained(ResNet(50, pretrained=path))


def test_other_backbones_by_their_own_names(tmp_path):
    weights = MobileNetV2().state_dict()
    torch.save(dict(state_dict=weights), tmp_path / 'mobile.pth')
    backbone = MobileNetV2(pretrained=str(tmp_path / 'mobile.pth'))
    check_pretrained(backbone)
    path = torchvision_weights(tmp_path / 'mobile.pth')
    with pytest.raises(ValueError, match='do not fit MobileNetV2'):
        check_pretrained(backbone)
    assert path == backbone.pretrained


def test_without_weights():
    check_pretrained(ResNet(18))
    with pytest.raises(FileNotFoundError, match='nowhere.pth'):
        check_pretrained(ResNet(18, pretrained='nowhere.pth'))


def test_a_spiking_resnet_starts_from_the_convolutions(tmp_path):
    """All but the stem, which shrinks, and the shortcut that only ours has;
    BatchNorm stays as without them."""
    path = torchvision_weights(tmp_path / 'weights.pth')
    stored = torch.load(path)
    network = SpikingResNet(18, pretrained=path)
    network.init_weights()
    found = network.state_dict()
    for ours, theirs in (
            ('layer1.0.conv1.weight', 'layer1.0.conv1.weight'),
            ('layer3.1.conv2.weight', 'layer3.1.conv2.weight'),
            ('layer2.0.downsample.1.weight', 'layer2.0.downsample.0.weight')):
        assert torch.equal(found[ours], stored[theirs].float())
    stem = stored['conv1.weight'].double()
    assert torch.allclose(found['conv1.weight'][5, 2, 0, 1].double(),
                          stem[5, 2, :3, 2:5].mean(), atol=1e-6)
    assert torch.equal(found['layer1.0.downsample.1.weight'][..., 0, 0],
                       torch.eye(64))
    torch.manual_seed(0)
    plain = SpikingResNet(18)
    plain.init_weights()
    for name, value in plain.state_dict().items():
        if value.ndim != 4:
            assert torch.equal(found[name], value), name


@pytest.mark.parametrize('depth, options', [
    (10, {}), (18, dict(neuron=dict(type='ReLU')))])
def test_shallower_networks_take_a_part(tmp_path, depth, options):
    path = torchvision_weights(tmp_path / 'weights.pth')
    network = SpikingResNet(depth, pretrained=path, **options)
    network.init_weights()
    assert torch.equal(network.layer4[0].conv2.weight,
                       torch.load(path)['layer4.0.conv2.weight'].float())


@pytest.mark.parametrize('options, fault', [
    (dict(depth=34), '16 missing: layer1.2.conv1.weight'),
    (dict(base_channels=32), 'of another shape: conv1.weight '
     r'\(64, 3, 3, 3\) instead of \(32, 3, 3, 3\)'),
    (dict(in_channels=2), '1 of another shape: conv1.weight')])
def test_convolutions_that_do_not_fit_are_named(tmp_path, options, fault):
    path = torchvision_weights(tmp_path / 'weights.pth')
    network = SpikingResNet(**options, pretrained=path)
    with pytest.raises(ValueError, match=fault):
        network.init_weights()
