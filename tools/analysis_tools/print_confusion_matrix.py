"""Print accuracies and confusion matrix of a dump of test.py."""
import argparse

import torch
from mmaction.evaluation import ConfusionMatrix, top_k_accuracy

from respike_mmaction.annotations import read_label_map
from respike_mmaction.checkpoints import read_dump


def table(matrix, classes):
    """Lines of the matrix: true classes down, predicted ones across."""
    width = max(map(len, classes))
    yield ' ' * width + ''.join(f'{i:>5}' for i in range(len(classes)))
    for i, name in enumerate(classes):
        row = ''.join(f'{count:>5}' for count in matrix[i])
        yield f'{name:>{width}}{row}   {i}'


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('dump', help='what test.py --dump wrote (.pkl)')
    parser.add_argument('label_file', help='class names, one a line')
    return parser.parse_args()


def main():
    args = parse_args()
    samples = read_dump(args.dump)
    scores = torch.stack([s['pred_score'] for s in samples])  # (N, C)
    truth = torch.tensor([int(s['gt_label']) for s in samples])
    classes = read_label_map(args.label_file, scores.shape[1])
    if not all(0 <= label < len(classes) for label in truth.tolist()):
        raise ValueError(f'{args.dump} holds labels that {args.label_file} '
                         f'does not name: {sorted(set(truth.tolist()))}')
    print('Confusion matrix (rows: true class, columns: predicted class)')
    matrix = ConfusionMatrix.calculate(scores, truth)
    print('\n'.join(table(matrix.tolist(), classes)))
    top1, top5 = top_k_accuracy(scores.numpy(), truth.tolist(), topk=(1, 5))
    print(f'top-1 {top1:.1%}, top-5 {top5:.1%} of {len(samples)} videos')


if __name__ == '__main__':
    main()
