# SPDX-License-Identifier: MIT
# The package of urllib.parse. To ask a server there is `requests`.
