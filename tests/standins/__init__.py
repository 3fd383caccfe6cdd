"""The stand-ins of engine `cinder` against what Cinder's code asks of them."""
