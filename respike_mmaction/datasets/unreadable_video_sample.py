"""The sample of a video that could not be read."""
import torch
from mmaction.structures import ActionDataSample

from .annotation_file import UNLABELLED


class UnreadableVideoSample(ActionDataSample):
    """Data sample of a video that counts as a wrong answer.

    Whatever scores a model gives are replaced by 0, and -1 for the true
    label, which so comes last; the predicted label is -1.
    """

    def set_pred_score(self, value: torch.Tensor) -> 'UnreadableVideoSample':
        """Set the scores of a wrong answer, of the shape of ``value``."""
        score = torch.zeros_like(value)
        if self.gt_label.numel() == 1:
            score[self.gt_label[self.gt_label != UNLABELLED]] = -1
        else:  # a one-hot vector of several labels
            score -= self.gt_label.to(score)
        return super().set_pred_score(score)

    def set_pred_label(self, value: torch.Tensor) -> 'UnreadableVideoSample':
        """Set the label -1."""
        return super().set_pred_label(torch.full_like(value, -1))
