# floe build app.py
# exit: 125
# says: app.py: not UTF-8: invalid start byte at byte
print("ÿ")
