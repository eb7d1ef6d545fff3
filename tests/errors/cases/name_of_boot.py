# floe build app.py
# as: boot.py
# exit: 125
# says: two files want the name boot.py
# hint: rename one of them
print("mine")
