# floe build app.py
# exit: 125
# says: app.py:8: MicroPython 1.25 has no match statement
# says: 8 | match x:
# hint: if, elif and else
# CPython 3.10 and later know `match`, MicroPython does not.
x = 1
match x:
    case 1:
        print("one")
