# floe build app.py
# exit: 125
# says: app.py:5: no module named '.sibling'
# hint: relative imports work inside a package
from .sibling import x
