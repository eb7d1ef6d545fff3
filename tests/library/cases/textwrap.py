# SPDX-License-Identifier: MIT
import textwrap
from textwrap import TextWrapper, dedent, fill, indent, shorten, wrap


def tried(function, *args, **keywords):
    try:
        return function(*args, **keywords)
    except Exception as e:
        return type(e).__name__


TEXT = """The quick-brown fox -- a well-known   animal -- jumped over\tthe lazy dog's back.  It did so
twice-or-thrice--that is sure! See http://example.org/a-very-long-path/that-does-not-fit/into-the-width-of-a-line.html
for self-evident --options and pre-1990 e-mail."""
for width in (5, 12, 20, 33, 70):
    print(width, wrap(TEXT, width))
    print(width, wrap(TEXT, width, break_long_words=False))
    print(width, wrap(TEXT, width, break_on_hyphens=False))
    print(width, wrap(TEXT, width, drop_whitespace=False))
    print(width, wrap(TEXT, width, initial_indent="* ", subsequent_indent="  "))
    print(width, tried(wrap, TEXT, width, max_lines=2))
print(fill("one two three four", 9), wrap(""), wrap("   "), wrap("  leading space", 10), tried(wrap, "x", 0))
print(wrap("a\tb\n\tc", 20), wrap("a\tb", 20, expand_tabs=False), wrap("a\nb", 20, replace_whitespace=False))
print(
    shorten("Hello  world!", width=12),
    shorten("Hello  world!", width=11),
    shorten("Hello world", 10, placeholder="..."),
)
print(tried(shorten, "Hello", 3, placeholder="....."), shorten("one two three", 100))
print(
    repr(
        dedent("""
    first
      second

    third
  \t
    """)
    )
)
print(repr(dedent("  a\n\tb\n")), repr(dedent("\ta\n\t  b")), repr(dedent("no")), repr(dedent("")))
print(repr(indent("one\n\n  two\n", "> ")), repr(indent("a\n\nb", "--", lambda line: True)), repr(indent("x", " ")))
wrapper = TextWrapper(width=10)
wrapper.initial_indent = "- "
print(wrapper.wrap("words and words"), wrapper.fill("words and words"), textwrap.TextWrapper().width)
