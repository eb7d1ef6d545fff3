# SPDX-License-Identifier: MIT
import io
import traceback


def inner(x):
    return 1 // x


def outer(x):
    return inner(x)


try:
    outer(0)
except ZeroDivisionError as e:
    text = traceback.format_exc()
    lines = text.splitlines()
    print(lines[0], [line.split()[-1] for line in lines if line.startswith("  File")])
    print(lines[-1].split(":")[0], text.endswith("\n"), traceback.format_exception(e)[0], end="")
    print(traceback.format_exception(type(e), e, None)[-1].split(":")[0])
    said = io.StringIO()
    traceback.print_exc(file=said)
    print(said.getvalue() == text)
    said = io.StringIO()
    traceback.print_exception(e, file=said)
    print(said.getvalue() == text)
print(traceback.format_exception_only(ValueError("wrong")), traceback.format_exception_only(KeyError()))
print(traceback.format_exc(), end="")


class Own(Exception):
    pass


try:
    raise Own("mine", 2)
except Own:
    print(traceback.format_exc().splitlines()[-1].endswith("('mine', 2)"))
