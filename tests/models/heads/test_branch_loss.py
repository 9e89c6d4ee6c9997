"""The losses of each half of the classifier."""
import pytest
import torch
import torch.nn.functional as F
from mmaction.structures import ActionDataSample

from respike_mmaction.models import CrossAttentionFusion

CHANNELS = (32, 32, 32, 32)


def build(**options):
    return CrossAttentionFusion(
        5, (8, 8, 8, 24), CHANNELS, fused_stages=(), **options)


def batch(views=3, groups=2, steps=3):
    torch.manual_seed(0)
    feats = (torch.randn(views * groups, 24, 2, 2, requires_grad=True),
             torch.randn(views * groups * steps, 32, 2, 2,
                         requires_grad=True))
    samples = [ActionDataSample().set_gt_label(i) for i in range(views)]
    return feats, samples


def test_each_half_is_judged_as_if_the_other_were_not_there():
    head = build(branch_loss_weight=0.5).double()
    feats, samples = batch()
    feats = tuple(x.double() for x in feats)
    losses = head.loss(feats, samples, num_groups=2)
    keys = feats[0].mean((2, 3)).view(3, 2, 24).mean(1)
    spikes = feats[1].mean((2, 3)).view(3, 6, 32).mean(1)
    weight, bias = head.fc_cls.weight, head.fc_cls.bias
    by_key = keys @ weight[:, :24].T
    by_spikes = spikes @ weight[:, 24:].T
    labels = torch.arange(3)
    for name, logits, factor in (
            ('loss_cls', by_key + by_spikes + bias, 1),
            ('loss_key', by_key + bias, .5),
            ('loss_spiking', by_spikes + bias, .5)):
        expected = factor * F.cross_entropy(logits, labels)
        assert abs(losses[name] - expected) < 1e-12, name


def test_every_step_is_judged_by_itself():
    head = build(branch_loss_weight=0.5, step_losses=True).double()
    (keys, spikes), samples = batch()
    losses = head.loss((keys.double(), spikes.double()), samples,
                       num_groups=2)
    logits = spikes.double().mean((2, 3)) @ head.fc_cls.weight[
        :, 24:].T + head.fc_cls.bias
    expected = sum(F.cross_entropy(of_view, torch.tensor([label] * 6))
                   for label, of_view in enumerate(logits.view(3, 6, 5)))
    assert abs(losses['loss_spiking'] - .5 * expected / 3) < 1e-12
    plain = build(branch_loss_weight=0.5).double()
    plain.load_state_dict(head.state_dict())
    others = plain.loss((keys.double(), spikes.double()), samples,
                        num_groups=2)
    for name in ('loss_cls', 'loss_key'):
        assert losses[name] == others[name]
    assert losses['loss_spiking'] > others['loss_spiking']  # convex


def test_step_losses_without_a_weight_are_refused():
    with pytest.raises(ValueError, match='step_losses=True.*branch_loss_weig'):
        build(step_losses=True)


def test_they_reach_their_own_branch_alone():
    head = build(branch_loss_weight=1)
    (keys, spikes), samples = batch()
    losses = head.loss((keys, spikes), samples, num_groups=2)
    losses['loss_key'].backward(retain_graph=True)
    assert keys.grad.abs().sum() > 0 and spikes.grad.abs().sum() == 0


def test_the_published_head_has_one_loss():
    feats, samples = batch()
    losses = build().loss(feats, samples, num_groups=2)
    assert [name for name in losses if 'loss' in name] == ['loss_cls']


def test_several_labels_a_video():
    head = build(branch_loss_weight=1, multi_class=True,
                 loss_cls=dict(type='BCELossWithLogits'))
    feats, samples = batch()
    for sample in samples:
        sample.set_gt_label(torch.tensor([1., 0, 1, 0, 0]))
    losses = head.loss(feats, samples, num_groups=2)
    assert all(losses[name].isfinite() and losses[name] > 0
               for name in ('loss_cls', 'loss_key', 'loss_spiking'))


@pytest.mark.parametrize('weight', [-1, float('inf'), float('nan'), '1'])
def test_a_weight_that_is_none_is_named(weight):
    with pytest.raises(ValueError, match='branch_loss_weight='):
        build(branch_loss_weight=weight)
