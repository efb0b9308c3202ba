"""Shows runs in one page that opens in any browser.

    lottery-report RUN [RUN ...] [--output=report.html]

A RUN is a directory that `lottery` has made, finished or not. Without --output the page
is report.html, here; it takes the place of one that is there.
"""

from absl import app, flags

from lottery_jax.commands import fail, show_help
from lottery_jax.errors import LotteryError
from lottery_jax.reporting.report import write_report

OUTPUT = flags.DEFINE_string("output", "report.html", "File of the page.")


def main(argv: list[str]):
    """Writes the page of the run directories in `argv`."""
    try:
        print(f"report: {write_report(argv[1:], OUTPUT.value)}")
    except (LotteryError, OSError) as error:
        fail(error)


def parse_flags(argv: list[str]) -> list[str]:
    """absl's parser; `--help` says what stands above."""
    show_help(argv, __doc__)
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        fail(error)


def console():
    """Entry point of the console script."""
    app.run(main, flags_parser=parse_flags)


if __name__ == "__main__":
    console()
