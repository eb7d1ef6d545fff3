# floe build app.py
# exit: 125
# says: app.py:6: '(' was never closed
# hint: mend line 6
x = 1
print("no end"
