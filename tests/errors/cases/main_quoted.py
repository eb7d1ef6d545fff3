# floe build app.py
# as: quo"ted.py
# exit: 125
# says: quo"ted.py: main: 'quo"ted.py' cannot be frozen under this name
# hint: no quotes, backslashes or line ends in it
print("mine")
