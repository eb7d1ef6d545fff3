# SPDX-License-Identifier: MIT
# First Python to run in every image: bring up the network from the kernel command line, where the image has one.


def start(name):
    # The name is computed, so that freezing does not take this for an import: only an app that itself reaches the
    # network has the module, and its driver, in its image.
    try:
        module = __import__(name)
    except ImportError:
        return
    module._boot()


start("network")
