# floe build app.py
# exit: 125
# says: app.py:8: no module named 'also_not_there'
# hint: put the file beside the script
try:
    import not_there
except ImportError:
    import also_not_there as not_there
