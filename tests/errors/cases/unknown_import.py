# floe build app.py
# exit: 125
# says: app.py:8: no module named 'no_such_thing'
# says: searched:
# says: frozen/
# says: built-in modules
# hint: put the file beside the script, or pin the package under [packages] in image.toml
import no_such_thing
