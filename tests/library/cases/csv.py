# SPDX-License-Identifier: MIT
import csv
import io


def tried(f, *args, **kw):
    try:
        print(f(*args, **kw))
    except Exception as e:
        print(type(e).__name__)


def read(text, **how):
    try:
        r = csv.reader(io.StringIO(text), **how)
        for row in r:
            print(r.line_num, row)
    except Exception as e:
        print(type(e).__name__)


def write(*rows, **how):
    try:
        out = io.StringIO()
        w = csv.writer(out, **how)
        w.writerows(rows)
        print(repr(out.getvalue()))
    except Exception as e:
        print(type(e).__name__)


for text in (
    "a,b,c\r\n1,2,3\r\n", "a,b", "", "\n\n", "a\n\nb\n", ',\n', '"a","b ""c""",d\n', '"two\nlines",x\n"', 'a"b,c\n', '"a"b,c\n',
    ' "a", b\n', '"a\n', 'a,"b', "a;b\tc\n", "\x7f,~\n", '"",""\n', "a,b,\n", '"a,b",c\r\n"d\r\ne",f',
):  # fmt: skip
    read(text)
    read(text, skipinitialspace=True, delimiter=";")
    read(text, quoting=csv.QUOTE_NONE)
    read(text, strict=True)
    read(text, doublequote=False, escapechar="\\")
read("1,'x,y',2.5\n", quotechar="'", quoting=csv.QUOTE_NONNUMERIC)
read("1,x\n", quoting=csv.QUOTE_NONNUMERIC)
read("a\\,b,c\\\\d\n'x\\'y'\n", escapechar="\\", quotechar="'")
read("a\tb\n", dialect="excel-tab")
print(list(csv.reader(["a,b", "c,d\n"])), list(csv.reader(["x;y"], delimiter=";")))
tried(lambda: list(csv.reader([b"a"])))
tried(csv.reader, [], delimiter="ab")
tried(csv.reader, [], nonsense=1)
tried(csv.reader, [], "no such dialect")
tried(csv.reader, [], quoting=9)

rows = (["a", 1, 2.5, None, True], ["x,y", 'q"q', "l\nl", "cr\r", ""], [""], [], [None], [" s "], ["~"])
write(*rows)
write(*rows, quoting=csv.QUOTE_ALL)
write(*rows, quoting=csv.QUOTE_NONNUMERIC)
write(*rows, dialect="unix")
write(*rows, dialect=csv.excel_tab)
write(*rows[:1], quoting=csv.QUOTE_NONE)
write(*rows, quoting=csv.QUOTE_NONE)
write(["a,b", 'c"d', "e\\f"], quoting=csv.QUOTE_NONE, escapechar="\\")
write(["a,b", 'c"d', "e\\f"], doublequote=False, escapechar="\\")
write(['c"d'], doublequote=False)
write(["a;b", "c'd"], delimiter=";", quotechar="'", lineterminator="\n")
write("abc")
write([1e20, 0.5, 10**20, -0.0, (1, 2)])
tried(lambda: csv.writer(io.StringIO()).writerow(5))

print(sorted(csv.list_dialects()))
csv.register_dialect("mine", delimiter="|", quoting=csv.QUOTE_ALL)
print(csv.get_dialect("mine").delimiter, sorted(csv.list_dialects()))
write(["a", "b"], dialect="mine", lineterminator="!")
read('"a"|b\n', dialect="mine")
csv.unregister_dialect("mine")
tried(csv.get_dialect, "mine")
tried(csv.unregister_dialect, "mine")


class Semi(csv.Dialect):
    delimiter = ";"
    quotechar = '"'
    lineterminator = "\n"
    quoting = csv.QUOTE_MINIMAL


write(["a;b", "c"], dialect=Semi)
write(["a;b", "c"], dialect=Semi())

r = csv.DictReader(io.StringIO("name,n\nx,1\n\ny\nz,3,4,5\n"), restkey="more", restval="-")
print(r.fieldnames)
for row in r:
    print(r.line_num, sorted(row.items()))
print([sorted(d.items()) for d in csv.DictReader(["1,2"], fieldnames=["a", "b"])], list(csv.DictReader([])))
out = io.StringIO()
w = csv.DictWriter(out, ["b", "a"], restval="none")
w.writeheader()
w.writerow({"a": 1, "b": "x,y"})
w.writerows([{"a": 2}])
print(repr(out.getvalue()))
tried(w.writerow, {"c": 1})
tried(csv.DictWriter, out, ["a"], extrasaction="what")
csv.DictWriter(out, ["a"], extrasaction="ignore").writerow({"a": 1, "c": 2})
print(repr(out.getvalue()[-3:]), csv.field_size_limit())
csv.field_size_limit(3)
read("abcd,e\n")
read('"abcd",e\n')
csv.field_size_limit(131072)
print(issubclass(csv.Error, Exception), csv.QUOTE_MINIMAL)
for text in ("a\rb", "a\nb", '"a"\rb', "\rb", "a,b\r", '"a\rb",c', "a\r\r\n", "\r", "1,2\r3,4\r"):
    read(text)
