"""Settings for the tests of the PyTorch side."""

import os

# The suite runs in several processes already: threads of small operations only wait for each other,
# twenty times slower on a busy machine. PyTorch reads this when it is first imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
