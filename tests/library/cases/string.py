# SPDX-License-Identifier: MIT
import string
from string import Template, capwords


def tried(function, *args, **keywords):
    try:
        return function(*args, **keywords)
    except Exception as e:
        return type(e).__name__


for name in "ascii_letters ascii_lowercase ascii_uppercase digits hexdigits octdigits punctuation".split():
    print(name, getattr(string, name))
print(repr(string.whitespace) == repr(" \t\n\r\x0b\x0c"), len(string.printable), string.printable[:40])
print(capwords("hello  wide WORLD"), capwords("a-b-cd", "-"), repr(capwords("")))
t = Template("$who likes ${what}ly, costs $$5, ${who}_x $_a1")
print(t.substitute(who="Tim", what="kung", _a1="!"), "|", t.safe_substitute(who="Tim"), "|", t.template)
print(t.substitute({"who": "A", "what": "b", "_a1": 3}, what="c"), t.is_valid(), t.get_identifiers())
print(tried(t.substitute, who="x"), tried(t.substitute, {}, {}))
for text in ("$", "a $ b", "${", "${x", "$1x", "${1}", "$$", "$$$a", "$a$a", "{$a}", "${a}}"):
    wrong = Template(text)
    print(text, tried(wrong.substitute, a=1, x=2), wrong.safe_substitute(a=1), wrong.is_valid())


class Percent(Template):
    delimiter = "%"


print(Percent("%a $b %%").substitute(a=1), Template("ä $a ö").substitute(a="ü"))
