# floe build app.py
# exit: 125
# says: app.py:6: no module named 'urllib.request'
# hint: CPython's `urllib.request` is not in MicroPython; use requests
# A part of a package that is there.
import urllib.request
