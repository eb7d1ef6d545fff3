# floe build app.py
# exit: 125
# says: app.py:6: no module named 'subprocess'
# hint: CPython's `subprocess` is not in MicroPython: there are no processes in an image
# Nothing takes its place, which is said as a sentence.
import subprocess
