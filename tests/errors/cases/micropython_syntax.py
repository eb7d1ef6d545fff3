# floe build app.py
# exit: 125
# says: app.py:7: SyntaxError: invalid syntax
# hint: MicroPython's compiler says so; CPython may accept more
# CPython 3.10 and later know `match`, MicroPython does not.
x = 1
match x:
    case 1:
        print("one")
