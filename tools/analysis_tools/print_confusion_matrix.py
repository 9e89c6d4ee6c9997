"""Print accuracies and confusion matrix of a dump of test.py."""
import argparse

from respike_mmaction.annotations import read_label_map
from respike_mmaction.command_line import run_tool
from respike_mmaction.engine import VideoAccMetric, labelled_results
from respike_mmaction.engine.video_acc_metric import confusion_matrix


def table(matrix, classes):
    """Lines of the matrix: true classes down, predicted ones across."""
    width = max(map(len, classes))
    yield (' ' * width + ''.join(f'{i:>5}' for i in range(len(classes)))
           + '  unreadable')
    for i, name in enumerate(classes):
        *row, unreadable = matrix[i]
        yield (f'{name:>{width}}' + ''.join(f'{n:>5}' for n in row)
               + f'{unreadable:>12}   {i}')


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('dump', help='what test.py --dump wrote (.pkl)')
    parser.add_argument('label_file', help='class names, one a line')
    return parser.parse_args()


def main():
    args = parse_args()
    results = labelled_results(args.dump)
    classes = read_label_map(args.label_file, len(results[0]['pred']))
    print('Confusion matrix (rows: true class, columns: predicted class)')
    print('\n'.join(table(confusion_matrix(results), classes)))
    metrics = VideoAccMetric().compute_metrics(results)
    print(f'top-1 {metrics["top1"]:.1%}, top-5 {metrics["top5"]:.1%} of '
          f'{len(results)} videos, '
          f'{sum(r["unreadable"] for r in results)} of them unreadable')


if __name__ == '__main__':
    run_tool(main)
