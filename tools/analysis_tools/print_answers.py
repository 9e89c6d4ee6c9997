"""Print the wrong answers of a dump of test.py, worst first.

The worst is the one whose class got most more than the true class. Of a list
without labels all answers are printed, in its order.
"""

from respike_mmaction.annotations import read_label_map
from respike_mmaction.command_line import make_parser, run_tool
from respike_mmaction.engine import read_answers, wrong_answers


def parse_args():
    parser = make_parser(__doc__)
    parser.add_argument('dump', help='what test.py --dump wrote (.pkl)')
    parser.add_argument('label_file', nargs='?',
                        help='class names, one a line (default: numbers)')
    parser.add_argument('--number', type=int,
                        help='how many to print (default: all)')
    return parser.parse_args()


def line(answer, classes):
    """One answer: predicted class, true class, file."""

    def named(label):
        score = '' if answer.unreadable else f'{answer.scores[label]:.3f} '
        return score + classes[label]

    said = 'unreadable' if answer.unreadable else named(answer.predicted)
    truth = f', not {named(answer.label)}' if answer.label >= 0 else ''
    return f'{said}{truth}: {answer.filename}'


def main():
    args = parse_args()
    answers = read_answers(args.dump)
    number = len(answers[0].scores)
    classes = (read_label_map(args.label_file, number) if args.label_file
               else [str(i) for i in range(number)])
    shown = answers
    if any(answer.label >= 0 for answer in answers):
        shown = wrong_answers(answers)
        print(f'{len(shown)} of {len(answers)} answers are wrong')
    for answer in shown[:args.number]:
        print(line(answer, classes))


if __name__ == '__main__':
    run_tool(main)
