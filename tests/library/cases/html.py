# SPDX-License-Identifier: MIT
import html

print(html.escape("<a href=\"x?a=1&b='2'\">"), html.escape("\"'<", quote=False), html.escape(""))
for text in (
    "&lt;b&gt; &amp;amp; &quot;&apos;&#39;", "&#65;&#x42;&#X43;", "a & b; c", "&", "&;", "&#;", "&#x;", "tail &amp",
    "&euro; &mdash; &hellip; &nbsp;| &copy; &auml;&ouml;&uuml;&szlig; &eacute; &rarr;", "&#0; &#xD800; &#x110000;",
    "&unknownname;", "no entity", "&&amp;&", "&#12a;", "&ampere; &zzzzz; &lt", "&#65 &#x41g",
):  # fmt: skip
    print([ord(c) for c in html.unescape(text)])
