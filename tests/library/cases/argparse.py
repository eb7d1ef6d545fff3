# SPDX-License-Identifier: MIT
import argparse
import sys


def parse(p, *args):
    """What comes of a command line; what is written to standard error is not compared, but its message is."""
    try:
        print(sorted(p.parse_args(list(args)).__dict__.items()))
    except SystemExit as e:
        print("exit", e.args[0])


class Parser(argparse.ArgumentParser):
    def error(self, message):
        print("error:", message.partition(" (choose")[0])
        raise SystemExit(2)


p = Parser(prog="prog", description="What it does.", epilog="The end of it.")
p.add_argument("name", help="who")
p.add_argument("n", type=int, nargs="?", default=7, help="how many (default: %(default)s)")
p.add_argument("-v", "--verbose", action="store_true", help="say more")
p.add_argument("-q", action="count", default=0)
p.add_argument("--level", type=int, default=3, metavar="N", help="a level")
p.add_argument("-o", default="-")
p.add_argument("--mode", choices=["fast", "slow"], default="fast", help="one of %(choices)s")
p.add_argument("--quiet-please", dest="hush", action="store_false")
p.add_argument("--tag", action="append")
p.add_argument("--hidden", help=argparse.SUPPRESS)
p.add_argument("--version", action="version", version="%(prog)s 1.0")
print(p.format_help())
print(p.format_usage())
for line in (
    "x", "x 5", "-v x", "--level 9 x", "--level=9 x", "-o out x", "-oout x", "-qqv x", "-vqoout x", "--lev 4 x",
    "--tag a --tag b x", "--mode slow x", "x --quiet-please", "-- -x", "x -- 5", "", "x y", "x 5 6", "x --nothing", "x --level",
    "x --level a", "x --mode odd", "--ver", "--version", "--v x", "x -z", "-v=1 x", "--verbose=1 x", "x -o", "-q -q x", "x -5",
    "--level -5 x", "-h", "x --tag", "--tag=a=b x", "-o=x y", "- 5",
):  # fmt: skip
    print(">", line)
    parse(p, *line.split())
parse(p, "two words", "-o", "-a b")
parse(p, "")

p = Parser(prog="p", add_help=False)
p.add_argument("src", nargs="+")
p.add_argument("dst")
p.add_argument("-x", nargs=2, type=float)
p.add_argument("-y", nargs="*")
p.add_argument("-z", nargs="?", const="c", default="d")
p.add_argument("-w", nargs="+", metavar=("A", "B"))
p.add_argument("-e", action="extend", nargs="+")
p.add_argument("-k", action="store_const", const=42)
p.add_argument("-a", action="append_const", const=1, dest="l")
p.add_argument("-b", action="append_const", const=2, dest="l")
print(p.format_usage())
for line in (
    "a b", "a b c", "a", "-x 1 2 a b", "-x 1 a", "a b -y", "a b -y 1 2", "-z a b", "a b -z", "-zq a b", "a b -w", "a b -w 1 2",
    "a b -e 1 2 -e 3", "-k a b", "-ab a b", "a b -x 1 2 3", "-y 1 -- a b", "a b -x q 2",
):  # fmt: skip
    print(">", line)
    parse(p, *line.split())

p = Parser(prog="p")
p.add_argument("cmd")
p.add_argument("rest", nargs=argparse.REMAINDER)
parse(p, "run", "-x", "--", "y")
parse(p, "run")
p = Parser(prog="p")
p.add_argument("files", nargs="*", default=None)
p.add_argument("-n", type=int)
parse(p)
parse(p, "a", "b")
parse(p, "-n", "1", "a")
print(p.parse_known_args(["a", "--what", "-n", "2"])[1])

p = Parser(prog="p", argument_default=argparse.SUPPRESS, allow_abbrev=False)
g = p.add_mutually_exclusive_group(required=True)
g.add_argument("--on", action="store_true")
g.add_argument("--off", action="store_true")
g.add_argument("--to", type=lambda s: s.upper())
p.add_argument("--need", required=True)
p.add_argument("--flag", action=argparse.BooleanOptionalAction)
print(p.format_usage())
for line in (
    "--on --need x",
    "--on --off --need x",
    "--need x",
    "--on",
    "--to a --need b --flag",
    "--no-flag --need b --on",
    "--ne x --on",
):
    print(">", line)
    parse(p, *line.split())

p = Parser(prog="git")
p.add_argument("-C", dest="where")
subs = p.add_subparsers(dest="verb", title="verbs", help="what to do", metavar="VERB")
add = subs.add_parser("add", help="add files", aliases=["a"])
add.add_argument("path", nargs="+")
add.add_argument("-f", action="store_true")
add.set_defaults(run="add it")
rm = subs.add_parser("rm", help="remove")
rm.add_argument("path")
print(p.format_help())
print(add.format_usage())
for line in ("add x y -f", "-C d rm z", "a q", "", "rm", "mv x", "add x --odd", "-h", "rm -h"):
    print(">", line)
    parse(p, *line.split())
p = Parser(prog="p")
p.add_subparsers(dest="verb", required=True).add_parser("one")
parse(p)


def even(text):
    n = int(text)
    if n % 2:
        raise argparse.ArgumentTypeError("%d is odd" % n)
    return n


class Twice(argparse.Action):
    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, values * 2)


p = Parser(
    prog="p", formatter_class=argparse.ArgumentDefaultsHelpFormatter, description="A long text that goes on " * 6
)
g = p.add_argument_group("more", "some more of them")
g.add_argument("--even", type=even, default="4", help="an even number")
g.add_argument(
    "--t", action=Twice, help="a text that is so long that it does not fit into one line of the help, and goes on " * 2
)
g.add_argument("--a-very-long-option-name", action="store_true", help="short")
p.add_argument("-1", dest="one", action="store_true")
help = p.format_help()
print(help[: help.index("options:")], help[help.index("more:") :])
for line in ("", "--even 6", "--even 5", "--even x", "--t ab", "-1", "x"):
    print(">", line)
    parse(p, *line.split())
print(
    p.get_default("t"),
    repr(argparse.Namespace(a=1, b="x")),
    "a" in argparse.Namespace(a=1),
    argparse.Namespace(a=1) == argparse.Namespace(a=1),
)
p.set_defaults(t="given", other=5)
parse(p)
p = argparse.ArgumentParser(prog="p", exit_on_error=False)
p.add_argument("-n", type=int)
try:
    p.parse_args(["-n", "x"])
except argparse.ArgumentError as e:
    print(e)
for bad in (("a", "-b"), ("-h",)):
    try:
        p.add_argument(*bad)
    except (ValueError, argparse.ArgumentError) as e:
        print(type(e).__name__)
p = Parser(prog="a-program-with-a-name", usage="%(prog)s does what it wants")
print(p.format_help())
p = Parser(prog="p")
for name in ("alpha", "beta", "gamma", "delta", "epsilon", "zeta"):
    p.add_argument("--" + name, metavar="SOMETHING")
    p.add_argument(name)
print(p.format_usage())
q = argparse.ArgumentParser()
q.add_argument("--x", type=int, default=1)
sys.argv[1:] = ["--x", "5"]
print(q.parse_args().x)
